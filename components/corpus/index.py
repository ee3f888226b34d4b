"""The index: what decisions need to know of each document, a few hundred bytes instead of its text.

Every shard has one, beside its documents and in their order. Decisions read it column by column over all shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import polars.selectors as cs

from components.corpus import identify

INDEX = "index.parquet"
COLUMNS = cs.by_name(
    "key",
    *(f"key_{name}" for name in identify.KEYS),
    "characters",
    "contaminated",
    require_all=False,
) | cs.matches("^(band|upsampling)_")


def of_documents(batch: pl.DataFrame) -> pl.DataFrame:
    """The rows of the index for a prepared batch."""
    return batch.with_columns(characters=pl.col("text").str.len_chars()).select(COLUMNS)


class Index:
    """The indexes of some shards, read as one, column by column.

    Attributes:
        sizes: documents in each shard, shape (number of shards,).
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        self.sizes = np.array([pl.scan_parquet(path).select(pl.len()).collect().item() for path in paths], np.int64)
        names = pl.read_parquet_schema(self._paths[0])
        self.bands = [name for name in names if name.startswith("band_")]

    def __len__(self) -> int:
        return int(self.sizes.sum())

    def column(self, name: str) -> pl.Series:
        """One column over all shards, one value for each document."""
        return pl.scan_parquet(self._paths).select(name).collect()[name].rechunk()

    def present(self, name: str) -> tuple[npt.NDArray, npt.NDArray[np.int64]]:
        """The values of one column that are not null, shape (m,), and the documents that have them, shape (m,)."""
        column = self.column(name)
        return column.drop_nulls().to_numpy(), np.flatnonzero(column.is_not_null().to_numpy())

    def spread(self, by_shard: Sequence[int | float | bool], dtype: npt.DTypeLike) -> npt.NDArray:
        """A value of each shard, repeated for its documents, shape (n,)."""
        return np.repeat(np.array(by_shard, dtype=dtype), self.sizes)

    def cut(self, values: npt.NDArray | pl.Series) -> list[npt.NDArray | pl.Series]:
        """Values of all documents, cut into those of each shard."""
        ends = np.cumsum(self.sizes)
        return [values[start:end] for start, end in zip(ends - self.sizes, ends, strict=True)]
