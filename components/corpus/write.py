"""What the corpus stage hands on: Parquet documents and Megatron token files, by split and group."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from components.corpus.batch import IDENTIFIERS
from components.platform.indexed import IndexedDataset, IndexedWriter

COLUMNS = ("id", "source", "group", "title", "text", "licence", "split", "tokens", *IDENTIFIERS, "origin")
ROW_GROUP = 4096  # documents; fixed, so that the bytes do not depend on how the work was batched
COPIED_AT_ONCE = 1024  # documents


def write_documents(path: Path, documents: pl.LazyFrame) -> None:
    """Write one group of one split, streaming; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    rows = documents.select(*COLUMNS)
    rows.sink_parquet(temporary, compression="zstd", row_group_size=ROW_GROUP, maintain_order=True)
    os.replace(temporary, path)


def write_tokens(prefix: Path, parts: Sequence[tuple[IndexedDataset, np.ndarray]], dtype: np.dtype) -> None:
    """Copy chosen documents of several token files, in order, into one.

    Args:
        parts: each a token file and the numbers of its documents to copy.
    """
    with IndexedWriter(prefix, dtype) as writer:
        for dataset, rows in parts:
            for chosen in _chunks(rows):
                writer.add_many(np.concatenate([dataset[i] for i in chosen]), dataset.lengths[chosen])


def _chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[start : start + COPIED_AT_ONCE] for start in range(0, len(rows), COPIED_AT_ONCE))
