"""One shard from raw files to documents: the part of the work that knows nothing of other shards.

What comes out: `documents.parquet` in the order that was read, `index.parquet` with what decisions need to know of
each document, the ledger of this shard, the records that were set aside, and what matched an evaluation set.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import polars as pl

from components.corpus import batch, index, licence, sources
from components.corpus.batch import Drops, Step
from components.corpus.clean import Clean
from components.corpus.contacts import Contacts
from components.corpus.filters import Filters
from components.corpus.fingerprint import Fingerprint
from components.corpus.identify import identify
from components.corpus.join import Join
from components.corpus.language import Language
from components.corpus.ledger import LEDGER, Ledger
from components.corpus.plan import Shard
from components.corpus.settings import ShardSettings
from components.corpus.sources import Reject
from components.corpus.sources.compat.titles import put_in_front
from components.corpus.sources.document import Document
from components.corpus.sources.pubmed_xml import DELETED
from components.corpus.tables import TableWriter
from components.corpus.upsampling import UpsamplingColumns
from components.platform.manifest import PROFILE_NAME
from components.platform.questions.question import Question

DOCUMENTS, REJECTS, MATCHES = "documents.parquet", "rejects.jsonl", "matches.jsonl"

# A batch is this much text: memory does not depend on how long documents are, and its words stay in the CPU's caches
BATCH_CHARACTERS = 2_000_000
BATCH_RECORDS = 8192

FINAL_TEXTS = {"meditron-compat"}
"""Formats whose texts stay as their readers give them, to be equal to what others made."""


def prepare(
    shard: Shard, settings: ShardSettings, tables: Sequence[Path], questions: Sequence[Question], folder: Path
) -> dict[str, Any]:
    """Prepare one shard into `folder`; returns the metadata of its manifest.

    Args:
        tables: tables of `papers` to join (`papers_table`).
        questions: items of evaluation sets to look for.
    """
    ledger, profile, characters, contacts = Ledger(), Counter[str](), 0, 0
    fingerprint = Fingerprint(settings.near_duplicates, settings.decontaminate, questions)
    steps = _steps(settings, Join.of(shard.files, tables) if tables else None, fingerprint)
    empty = batch.of_documents([], shard.source, settings.source.group)
    empty = _through(steps, empty, shard.source, Ledger(), Counter())
    with (
        (folder / REJECTS).open("wb") as rejects,
        TableWriter(folder / DOCUMENTS, empty.select(batch.KEPT)) as documents,
        TableWriter(folder / index.INDEX, index.of_documents(empty)) as rows,
    ):
        for frame in _batches(shard, settings, ledger, rejects, profile):
            characters += frame["text"].str.len_chars().sum()
            frame = _through(steps, frame, shard.source, ledger, profile)
            started = time.process_time()
            contacts += frame["scrubbed"].sum() if "scrubbed" in frame.columns else 0
            documents.write(frame.select(batch.KEPT))
            rows.write(index.of_documents(frame))
            profile["write"] += time.process_time() - started
    _write_jsonl(folder / MATCHES, fingerprint.matches)
    (folder / LEDGER).write_bytes(orjson.dumps(ledger.rows()))
    (folder / PROFILE_NAME).write_bytes(orjson.dumps({"characters": characters, "cpu_seconds": profile}))
    return {
        "source": shard.source,
        "shard": shard.number,
        "documents": documents.rows,
        "characters": characters,
        "contacts_replaced": contacts,
        "deleted_pmids": _deleted_pmids(folder / REJECTS),
    }


def _steps(settings: ShardSettings, join: Join | None, fingerprint: Fingerprint) -> dict[str, Step]:
    source = settings.source
    allowed = None if source.licences is None else tuple(source.licences)
    is_final = source.format in FINAL_TEXTS
    steps: dict[str, Step | None] = {
        "join": join,
        "clean": None if is_final else Clean(settings.reserved, keep_layout=source.group == "replay"),
        "contacts": Contacts() if settings.scrub_contacts and not is_final else None,
        "filter": Filters(settings.min_characters, allowed, source.unknown_licence == "keep", source.pubmed_only),
        "language": Language(settings.languages) if settings.languages else None,
        "titles": put_in_front if is_final else None,
        "identify": identify,
        "upsampling_factors": UpsamplingColumns(settings.upsampling) if settings.upsampling else None,
        "fingerprint": fingerprint,
    }
    return {name: step for name, step in steps.items() if step is not None}


def _through(
    steps: dict[str, Step], frame: pl.DataFrame, source: str, ledger: Ledger, profile: Counter[str]
) -> pl.DataFrame:
    """A batch after all steps; each step's rows go to the ledger, its CPU seconds to the profile."""
    for name, step in steps.items():
        before, started = frame.height, time.process_time()
        frame, drops = step(frame)
        profile[name] += time.process_time() - started
        ledger.add(source, name, before, frame.height, drops)
    return frame


def _batches(
    shard: Shard, settings: ShardSettings, ledger: Ledger, rejects: BinaryIO, profile: Counter[str]
) -> Iterator[pl.DataFrame]:
    """Documents in batches; what is rejected goes to the ledger and to the `rejects` file."""
    source = settings.source
    records = sources.read(sources.FORMATS[source.format], shard.files, settings.limits)
    while True:
        started = time.process_time()
        documents, drops, read = _gathered(records, source.name, rejects)
        if not read:
            return
        ledger.add(source.name, "read", read, len(documents), drops)
        frame = batch.of_documents(documents, source.name, source.group)
        if source.licence:
            stated = pl.col("licence") != licence.UNKNOWN
            frame = frame.with_columns(licence=pl.when(stated).then("licence").otherwise(pl.lit(source.licence)))
        profile["read"] += time.process_time() - started
        yield frame


def _gathered(
    records: Iterator[tuple[str, Document] | Reject], source: str, rejects: BinaryIO
) -> tuple[list[tuple[str, Document]], Drops, int]:
    """The next documents, as many as fit a batch; how many records were rejected for what; and all read."""
    documents: list[tuple[str, Document]] = []
    drops = Counter[str]()
    characters = read = 0
    for record in records:
        read += 1
        if isinstance(record, Reject):
            drops[record.reason] += 1
            rejects.write(orjson.dumps({"source": source, **asdict(record)}) + b"\n")
        else:
            documents.append(record)
            characters += len(record[1].text)
        if characters >= BATCH_CHARACTERS or read >= BATCH_RECORDS:
            break
    return documents, drops, read


def _deleted_pmids(rejects: Path) -> list[str]:
    """PubMed's deletions among the records that were set aside: few in each file."""
    with rejects.open("rb") as lines:
        rows = [orjson.loads(line) for line in lines if DELETED.encode() in line]
    return sorted({row["detail"] for row in rows if row["reason"] == DELETED})


def _write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
