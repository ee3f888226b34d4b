"""The plan: which files there are, and how their preparation is shared out.

A shard is a run of consecutive files of one source, about `shard_bytes` long; a larger file is a shard of its own.
Cuts lie where the running total passes a multiple of that size, so files added at a source's end leave the shards
before them as they are, and what was made of those is found again.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from components.corpus import questions
from components.corpus.language import Language
from components.corpus.settings import CorpusSettings
from components.platform import storage
from components.platform.context import PlatformSettings
from components.platform.data import SourceFile, resolve
from components.platform.manifest import Manifest
from components.platform.predecessor import as_inputs
from components.platform.stage import produce

PLAN = "plan.json"


@dataclass(frozen=True)
class Shard:
    """Files that are prepared together. `number` counts the shards of its source."""

    source: str
    number: int
    files: tuple[SourceFile, ...]

    @property
    def name(self) -> str:
        return f"{self.source}-{self.number:05}"

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True)
class Plan:
    """All files of a corpus.

    Attributes:
        shards: in the order of the recipe's sources and of their files.
        papers: by source, the files of Semantic Scholar's `papers` that it joins.
        tokenizer: files of the tokenizer that is taken; none when one is trained.
        questions: files of the evaluation sets that are kept out.
    """

    shards: tuple[Shard, ...]
    papers: dict[str, tuple[SourceFile, ...]]
    tokenizer: tuple[SourceFile, ...]
    questions: tuple[SourceFile, ...]

    def files(self) -> list[SourceFile]:
        """Every file, once."""
        parts = [*(shard.files for shard in self.shards), *self.papers.values(), self.tokenizer, self.questions]
        return list({file.name: file for part in parts for file in part}.values())

    def names_by_source(self) -> dict[str, list[str]]:
        """Names of the files that each source reads or joins."""
        by_source = {source: [file.name for file in files] for source, files in self.papers.items()}
        for shard in self.shards:
            by_source[shard.source] += [file.name for file in shard.files]
        return by_source

    def all_papers(self) -> list[SourceFile]:
        """The files of `papers` of all sources, each once."""
        return list({file.name: file for files in self.papers.values() for file in files}.values())

    @classmethod
    def load(cls, manifest: Manifest) -> Plan:
        record = manifest.read_json(PLAN)
        shards = tuple(Shard(row["source"], row["number"], _files(row["files"])) for row in record["shards"])
        papers = {source: _files(rows) for source, rows in record["papers"].items()}
        return cls(shards, papers, _files(record["tokenizer"]), _files(record["questions"]))


def make(settings: CorpusSettings, platform: PlatformSettings, before: Sequence[Manifest] = ()) -> Manifest:
    """Find all source files and plan the work on them.

    Args:
        before: corpora that this one adds to: their files are left out.

    Raises:
        As `find`.
    """
    plan = find(settings, platform, known_digests(before))

    def work(folder: Path) -> dict[str, Any]:
        storage.write_atomically(folder / PLAN, json.dumps(asdict(plan), indent=1))
        return {"shards": len(plan.shards), "bytes": sum(shard.bytes for shard in plan.shards)}

    return produce("corpus-plan", settings, as_inputs(before), platform, work, source_files=plan.files())


def find(settings: CorpusSettings, platform: PlatformSettings, known: Collection[str] = ()) -> Plan:
    """Find all source files, and cut them into shards.

    Args:
        known: digests of files to leave out, but for those of replay, which goes along with whatever is new.

    Raises:
        InputError: a source file is missing.
        SettingsError: no language or benchmark is called as the recipe says.
    """
    if settings.languages:
        Language(settings.languages)
    shards, papers = [], {}
    for source in settings.sources:
        files = _resolved(platform, source.paths)
        if source.group != "replay":
            files = tuple(file for file in files if file.digest not in known)
        shards += cut(source.name, files, settings.shard_bytes)
        papers[source.name] = _resolved(platform, source.papers)
    # Only these files: the folder may be that of a whole model, weights included
    taken = _resolved(platform, [f"{settings.tokenizer.path}/tokenizer*.json"]) if settings.tokenizer.path else ()
    return Plan(tuple(shards), papers, taken, questions.files(settings.decontaminate, platform))


def known_digests(before: Sequence[Manifest]) -> set[str]:
    """Digests of the source files that some corpora were made from. A file is known by its content, not its name."""
    return {digest for corpus in before for digest in corpus.made_by["sources"].values()}


def cut(source: str, files: Sequence[SourceFile], shard_bytes: int) -> list[Shard]:
    """Shards of about `shard_bytes`, of files in their order."""
    total, numbered = 0, []
    for file in files:
        numbered.append((total // shard_bytes, file))
        total += file.bytes
    runs = [tuple(file for _, file in run) for _, run in groupby(numbered, key=lambda pair: pair[0])]
    return [Shard(source, number, run) for number, run in enumerate(runs)]


def share(sizes: Sequence[int], task: int, tasks: int) -> list[int]:
    """The items that one of several tasks works on: the largest first, each to the task with the least so far.

    Args:
        sizes: bytes of each item.

    Returns:
        Numbers of items, ascending.
    """
    loads = [(0, number) for number in range(tasks)]
    mine = []
    for item in sorted(range(len(sizes)), key=lambda item: (-sizes[item], item)):
        load, number = heapq.heappop(loads)
        if number == task:
            mine.append(item)
        heapq.heappush(loads, (load + sizes[item], number))
    return sorted(mine)


def shard_name(part: Manifest) -> str:
    """Name of the shard that an artifact was made from."""
    return f"{part.metadata['source']}-{part.metadata['shard']:05}"


def _resolved(platform: PlatformSettings, patterns: Sequence[str]) -> tuple[SourceFile, ...]:
    """Files of several patterns; one that two patterns match is read once."""
    return tuple({file.name: file for pattern in patterns for file in resolve(platform, pattern)}.values())


def _files(rows: Sequence[dict[str, Any]]) -> tuple[SourceFile, ...]:
    return tuple(SourceFile(**row) for row in rows)
