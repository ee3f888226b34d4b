"""The text that is trained on, and the keys by which later steps know a document."""

from __future__ import annotations

import hashlib

import polars as pl

from components.corpus.batch import IDENTIFIERS, Drops

TITLE_SEPARATOR = {"abstracts": "\n"}  # as in the reference: elsewhere a blank line stands after the title


def identify(batch: pl.DataFrame) -> tuple[pl.DataFrame, Drops]:
    """Put the title in front of the text, and add the columns `id` and `text_key`.

    `id` names the work itself ("pmid:29768149"; a hash of the text where there is no identifier), so it does not
    depend on the source, file or position the document was read from. `text_key` is equal for texts that differ
    only in case, punctuation and spacing; null for a text without letters and digits.
    """
    separator = pl.col("group").replace_strict(TITLE_SEPARATOR, default="\n\n", return_dtype=pl.String)
    plain = pl.col("text").str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", " ").str.strip_chars()
    batch = batch.with_columns(
        text_key=plain.replace("", None).map_elements(digest, return_dtype=pl.String),
        text=pl.when(pl.col("title") == "").then("text").otherwise(pl.concat_str("title", separator, "text")),
    )
    names = [pl.format(f"{name}:{{}}", name) for name in IDENTIFIERS]
    of_text = pl.format("text:{}", pl.col("text").map_elements(digest, return_dtype=pl.String))
    return batch.with_columns(id=pl.coalesce(*names, of_text)), {}


def digest(text: str) -> str:
    """128 bits of BLAKE2b as 32 hex digits: the same on every machine and in every version."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
