"""One source from raw files to cleaned, filtered documents: the part of the work that knows nothing of other sources.

Results lie in a folder of Parquet parts, in the order they were read. A marker file written last says that the folder
is whole; a folder without it is made anew.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import polars as pl

from components.corpus import batch, licence, sources
from components.corpus.batch import Drops, Step
from components.corpus.clean import Clean
from components.corpus.filters import Filters
from components.corpus.identify import identify
from components.corpus.ledger import Ledger
from components.corpus.settings import CorpusSettings, SourceSettings
from components.corpus.sources import Reject
from components.corpus.sources.document import Document
from components.platform.data import SourceFile
from components.platform.errors import InputError
from components.platform.progress import Progress

MARKER = "done.json"
REJECTS = "rejects.jsonl"


@dataclass(frozen=True)
class Prepared:
    """The finished documents of one source."""

    source: SourceSettings
    folder: Path

    def parts(self) -> list[Path]:
        """Parquet files, in the order they were read."""
        return sorted(self.folder.glob("part-*.parquet"))

    def documents(self) -> pl.LazyFrame:
        """All rows, in the order they were read."""
        return pl.scan_parquet(self.parts())

    def ledger_rows(self) -> list[dict[str, Any]]:
        return orjson.loads((self.folder / MARKER).read_bytes())


def prepare(
    source: SourceSettings,
    files: Sequence[SourceFile],
    papers: Sequence[SourceFile],
    settings: CorpusSettings,
    reserved: tuple[str, ...],
    folder: Path,
) -> Prepared:
    """Read, clean and filter one source into `folder`, unless that is done already.

    Args:
        papers: files of Semantic Scholar's `papers` to join.
        reserved: tokens that raw text must not contain.

    Raises:
        InputError: no document is left.
    """
    prepared = Prepared(source, folder)
    if (folder / MARKER).exists():
        return prepared
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ledger = Ledger()
    with (folder / REJECTS).open("wb") as rejects, Progress(f"corpus  {source.name}", None, "documents") as progress:
        steps = _steps(source, settings, reserved)
        if papers:
            steps = {"join": _join(_papers(source, papers, ledger, rejects)), **steps}
        written = 0
        for frame in _batches(source, files, settings.batch_documents, ledger, rejects):
            read = frame.height
            for name, step in steps.items():
                before = frame.height
                frame, drops = step(frame)
                ledger.add(source.name, name, before, frame.height, drops)
            if frame.height:
                frame.write_parquet(folder / f"part-{written:08}.parquet", compression="zstd")
                written += 1
            progress.update(read)
    _expect_documents(source, files, ledger, written)
    temporary = folder / f".{MARKER}"
    temporary.write_bytes(orjson.dumps(ledger.rows()))
    os.replace(temporary, folder / MARKER)
    return prepared


def _steps(source: SourceSettings, settings: CorpusSettings, reserved: tuple[str, ...]) -> dict[str, Step]:
    allowed = None if source.licences is None else tuple(source.licences)
    return {
        "clean": Clean(reserved, keep_layout=source.group == "replay"),
        "filter": Filters(settings.min_characters, allowed, source.unknown_licence == "keep"),
        "identify": identify,
    }


def _batches(
    source: SourceSettings, files: Sequence[SourceFile], size: int, ledger: Ledger, rejects: BinaryIO
) -> Iterator[pl.DataFrame]:
    """Documents in batches made of `size` records; rejects go to the ledger and to the `rejects` file."""
    reader = sources.read(sources.FORMATS[source.format], files)
    while records := list(islice(reader, size)):
        documents, drops = _sorted_out(records, source.name, rejects)
        ledger.add(source.name, "read", len(records), len(documents), drops)
        frame = batch.of_documents(documents, source.name, source.group)
        if source.licence:
            stated = pl.col("licence") != licence.UNKNOWN
            frame = frame.with_columns(licence=pl.when(stated).then("licence").otherwise(pl.lit(source.licence)))
        yield frame


def _sorted_out(
    records: Iterable[tuple[str, Document] | Reject], source: str, rejects: BinaryIO
) -> tuple[list[tuple[str, Document]], Drops]:
    """Documents, and how many records were rejected for what; the rejects are written down one by one."""
    documents, drops = [], {}
    for record in records:
        if isinstance(record, Reject):
            drops[record.reason] = drops.get(record.reason, 0) + 1
            rejects.write(orjson.dumps({"source": source, **asdict(record)}) + b"\n")
        else:
            documents.append(record)
    return documents, drops


def _papers(source: SourceSettings, files: Sequence[SourceFile], ledger: Ledger, rejects: BinaryIO) -> pl.DataFrame:
    """Titles and identifiers of papers, one row per corpusid (the first one found)."""
    records = list(sources.read(sources.FORMATS["papers"], files))
    documents, drops = _sorted_out(records, f"{source.name}:papers", rejects)
    ledger.add(f"{source.name}:papers", "read", len(records), len(documents), drops)
    return (
        batch.of_documents(documents, source.name, source.group)
        .select("title", *batch.IDENTIFIERS)
        .unique("corpusid", keep="first", maintain_order=True)
    )


def _join(papers: pl.DataFrame) -> Step:
    """A step that fills in titles and identifiers from `papers`; a title from there is the better one."""

    def step(frame: pl.DataFrame) -> tuple[pl.DataFrame, Drops]:
        joined = frame.join(papers, on="corpusid", how="left", suffix="_paper", maintain_order="left")
        title = pl.coalesce(pl.col("title_paper").replace("", None), "title").alias("title")
        ids = [pl.coalesce(name, f"{name}_paper").alias(name) for name in batch.IDENTIFIERS if name != "corpusid"]
        return joined.with_columns(title, *ids).select(frame.columns), {}

    return step


def _expect_documents(source: SourceSettings, files: Sequence[SourceFile], ledger: Ledger, written: int) -> None:
    if written:
        return
    names = ", ".join(file.name for file in files[:3]) + (" ..." if len(files) > 3 else "")
    drops = ", ".join(f"{count} {reason}" for reason, count in ledger.drops(source.name).items()) or "no records"
    raise InputError(
        f"source {source.name}: no document in {names} ({drops}); expected documents in format {source.format}"
    )
