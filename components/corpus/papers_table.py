"""Semantic Scholar's `papers` as compact tables, one for each of its files, from which shards look up their documents.

A release has 200 million rows in some 60 files. Rows of a table stand in the order of the file: corpus ids come in
random order there, so sorting them would let no reader skip anything. What lets it skip is that pages are small.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from components.corpus import sources
from components.corpus.limits import DEFAULT, Limits
from components.corpus.sources import Reject
from components.corpus.sources.document import Document
from components.platform.data import SourceFile

TABLE, REJECTS = "papers.parquet", "papers-rejects.jsonl"
SCHEMA = {
    "corpusid": pl.Int64,
    "title": pl.String,
    "pmid": pl.String,
    "pmcid": pl.String,
    "doi": pl.String,
    "venue": pl.String,
    "published": pl.String,
    "citations": pl.Int32,
    "publication_types": pl.List(pl.String),
}
ROW_GROUP = 100_000
# A lookup decompresses the pages with a row that it wants. Of 100,000 rows it wants some 100 or fewer, so with pages
# of 16 KiB (a few hundred titles) it leaves most alone: it takes half the time of that with pages of 1 MiB.
PAGE_BYTES = 16 << 10
PAGE_CHECKED_EVERY = 256  # rows; a page ends only where its size is checked
OFTEN_EQUAL = ["venue", "published", "publication_types.list.element"]


def tabulate(file: SourceFile, pubmed_only: bool, folder: Path, limits: Limits = DEFAULT) -> dict[str, Any]:
    """Make the table of one file of `papers`; what is no such row goes to a second file, with the reason.

    Args:
        pubmed_only: leave out rows that have neither PMID nor PMCID, five of six.

    Returns:
        Metadata: `records` read, `rows` in the table, and `drops` by reason; records = rows + drops.
    """
    drops = Counter[str]()
    rows = 0
    with (folder / REJECTS).open("wb") as rejects, _writer(folder / TABLE) as table:
        papers = _papers(file, pubmed_only, limits, drops, rejects)
        while chunk := list(islice(papers, ROW_GROUP)):
            rows += len(chunk)
            table.write_table(_arrow(_frame(chunk)), row_group_size=len(chunk))
    return {"records": rows + drops.total(), "rows": rows, "drops": dict(sorted(drops.items()))}


def _papers(
    file: SourceFile, pubmed_only: bool, limits: Limits, drops: Counter[str], rejects: BinaryIO
) -> Iterator[Document]:
    """The papers that are kept; the others are counted in `drops`, and those that can't be read written down."""
    for record in sources.read(sources.FORMATS["papers"], [file], limits):
        if isinstance(record, Reject):
            drops[record.reason] += 1
            rejects.write(orjson.dumps({"source": "papers", **asdict(record)}) + b"\n")
        elif pubmed_only and record[1].pmid is None and record[1].pmcid is None:
            drops["not_in_pubmed"] += 1
        else:
            yield record[1]


def _frame(papers: Sequence[Document]) -> pl.DataFrame:
    columns = {name: [getattr(paper, name) for paper in papers] for name in SCHEMA}
    columns["corpusid"] = [int(paper.corpusid) for paper in papers]
    return pl.DataFrame(columns, schema=SCHEMA)


def _writer(path: Path) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        path,
        _arrow(_frame([])).schema,
        compression="zstd",
        data_page_size=PAGE_BYTES,
        write_batch_size=PAGE_CHECKED_EVERY,
        use_dictionary=OFTEN_EQUAL,
    )


def _arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
