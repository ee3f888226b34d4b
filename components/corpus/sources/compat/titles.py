"""Titles in front of texts, as Meditron's scripts put them there."""

from __future__ import annotations

import polars as pl

from components.corpus.batch import Drops
from components.corpus.sources.compat import plain


def put_in_front(batch: pl.DataFrame) -> tuple[pl.DataFrame, Drops]:
    """Put titles into texts and leave none for `identify` to put there. A step of its own, because titles come from
    `papers`. Drops nothing.

    Reference fault: titles of abstracts lose what stands in brackets, and with it all of a translated title.
    """
    abstract = pl.concat_str(
        pl.col("title").map_elements(plain.cleaned, return_dtype=pl.String), "text", separator="\n"
    )
    paper = pl.concat_str("title", "text", separator="\n\n")
    titled = pl.when(pl.col("group") == "abstracts").then(abstract).otherwise(paper)
    text = pl.when(pl.col("title") == "").then("text").otherwise(titled)
    return batch.with_columns(text=text, title=pl.lit("")), {}
