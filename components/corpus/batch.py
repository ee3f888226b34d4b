"""Batches: Polars frames of documents, and the shape that all steps on them share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from components.corpus.sources.document import Document

SCHEMA = {
    "source": pl.String,
    "group": pl.String,
    "origin": pl.String,  # "file:record" that the document was read from
    "title": pl.String,
    "text": pl.String,
    "licence": pl.String,
    "pmid": pl.String,
    "pmcid": pl.String,
    "doi": pl.String,
    "corpusid": pl.String,
    "retracted": pl.Boolean,
    "published": pl.String,
    "venue": pl.String,
    "citations": pl.Int32,
    "publication_types": pl.List(pl.String),
    "mesh": pl.List(pl.String),
}
IDENTIFIERS = ("pmid", "pmcid", "doi", "corpusid")
KEPT = ("id", "source", "group", "title", "text", "licence", *IDENTIFIERS, "origin")
"""Columns of a document that outlive its preparation."""

Drops = dict[str, int]
"""How many rows a step dropped, by reason."""

Step = Callable[[pl.DataFrame], tuple[pl.DataFrame, Drops]]
"""A step takes a batch and returns the rows it keeps, in their order, and what it dropped."""


def of_documents(documents: Sequence[tuple[str, Document]], source: str, group: str) -> pl.DataFrame:
    """A batch from what a reader gave: (origin, document) pairs."""
    columns = {
        column: [getattr(document, column) for _, document in documents]
        for column in SCHEMA
        if column not in ("source", "group", "origin")
    }
    columns["origin"] = [origin for origin, _ in documents]
    frame = pl.DataFrame(columns, schema_overrides={name: SCHEMA[name] for name in columns})
    return frame.with_columns(source=pl.lit(source), group=pl.lit(group)).select(*SCHEMA)


def keep_where(batch: pl.DataFrame, conditions: dict[str, pl.Expr]) -> tuple[pl.DataFrame, Drops]:
    """Keep the rows that meet all conditions.

    Args:
        conditions: by the name of the drop. A row that fails several is counted under the first; null fails.
    """
    drops: Drops = {}
    for reason, condition in conditions.items():
        kept = batch.filter(condition)
        if kept.height < batch.height:
            drops[reason] = batch.height - kept.height
        batch = kept
    return batch, drops
