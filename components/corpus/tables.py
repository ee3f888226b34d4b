"""Parquet files written batch by batch, so that memory does not grow with them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq


class TableWriter:
    """Writes frames of one schema to a Parquet file, which appears whole at the end or not at all.

    Args:
        path: the file.
        empty: a frame without rows that shows the schema.
        row_group: rows in each row group; None: each frame is one. A fixed number makes the bytes independent of
            how the rows came in batches.
    """

    def __init__(self, path: Path, empty: pl.DataFrame, row_group: int | None = None) -> None:
        self.path, self.row_group = path, row_group
        self.rows = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._waiting = empty
        self._temporary = path.with_name(f".{path.name}.tmp")
        self._file = pq.ParquetWriter(
            self._temporary,
            _arrow(empty).schema,
            compression="zstd",
            use_dictionary=[name for name in empty.columns if name != "text"],  # no two texts are the same
        )

    def write(self, frame: pl.DataFrame) -> None:
        self.rows += frame.height
        if self.row_group is None:
            self._put(frame)
            return
        self._waiting = pl.concat([self._waiting, frame])
        while self._waiting.height >= self.row_group:
            self._put(self._waiting[: self.row_group])
            self._waiting = self._waiting[self.row_group :]

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self._put(self._waiting)
        self._file.close()
        if kind is None:
            os.replace(self._temporary, self.path)
        else:
            self._temporary.unlink()

    def _put(self, frame: pl.DataFrame) -> None:
        if frame.height:
            self._file.write_table(_arrow(frame), row_group_size=frame.height)


def row_groups(path: Path, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
    """The row groups of a Parquet file one after the other, some or all columns of them."""
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            yield pl.DataFrame(file.read_row_group(number, columns=columns))


def _arrow(frame: pl.DataFrame) -> pa.Table:
    # In one piece: where a column's pieces end, the file's pages would too
    return frame.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
