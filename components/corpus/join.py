"""What Semantic Scholar's `papers` says about the documents of one shard, joined by corpusid.

Of 200 million papers only those of the shard are held in memory: its corpus ids are gathered first, with a look at
the raw lines that takes a few percent of the time that reading them does; then the tables (`papers_table`) are
searched for them.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from components.corpus import batch, papers_table
from components.corpus.batch import Drops
from components.corpus.sources import files
from components.corpus.sources.document import RejectedError
from components.platform.data import SourceFile

_CORPUSID = re.compile(rb'"corpusid"\s*:\s*"?\s*0*([1-9]\d{0,17})')


@dataclass(frozen=True)
class Join:
    """A step that fills in what the `papers` of a shard know.

    A title from there is the better one (that of full text is what a PDF parser took for one). All else is filled
    in where the document itself does not say it.

    Attributes:
        papers: columns as in `papers_table.SCHEMA`, `corpusid` as text and unique.
    """

    papers: pl.DataFrame

    @classmethod
    def of(cls, shard: Iterable[SourceFile], tables: Sequence[Path]) -> Join:
        """The step for the documents in some files of JSON lines."""
        return cls(found(tables, corpusids(shard)))

    def __call__(self, batch_: pl.DataFrame) -> tuple[pl.DataFrame, Drops]:
        joined = batch_.join(self.papers, on="corpusid", how="left", suffix="_paper", maintain_order="left")
        title = pl.coalesce(pl.col("title_paper").replace("", None), "title").alias("title")
        venue = pl.coalesce(pl.col("venue").replace("", None), "venue_paper", pl.lit("")).alias("venue")
        types = pl.when(pl.col("publication_types").list.len() > 0).then("publication_types")
        types = pl.coalesce(types, "publication_types_paper", "publication_types").alias("publication_types")
        names = [name for name in (*batch.IDENTIFIERS, "published", "citations") if name != "corpusid"]
        others = [pl.coalesce(name, f"{name}_paper").cast(batch_.schema[name]).alias(name) for name in names]
        return joined.with_columns(title, venue, types, *others).select(batch_.columns), {}


def corpusids(shard: Iterable[SourceFile]) -> npt.NDArray[np.int64]:
    """All corpus ids in some files of JSON lines, ascending, each once, shape (n,).

    Lines are searched, not parsed: a number that stands in another place than it should (in a text that quotes such
    a record) is found as well, which costs one more row in memory and no more.
    """
    ids = array("q")
    for file in shard:
        for _, line in files.lines(file):
            if not isinstance(line, RejectedError):
                ids.extend(map(int, _CORPUSID.findall(line)))
    return np.unique(np.frombuffer(ids, dtype=np.int64))


def found(tables: Sequence[Path], ids: npt.NDArray[np.int64]) -> pl.DataFrame:
    """The papers with these corpus ids; where several rows have one, the first one (in the order of the tables)."""
    wanted = pl.Series(ids).implode()
    # Table by table: memory is that of a few row groups, and the order is that of the tables
    parts = [pl.scan_parquet(table).filter(pl.col("corpusid").is_in(wanted)).collect() for table in tables]
    papers = pl.concat([pl.DataFrame(schema=papers_table.SCHEMA), *parts])
    first = papers.unique("corpusid", keep="first", maintain_order=True)
    return first.with_columns(pl.col("corpusid").cast(pl.String))
