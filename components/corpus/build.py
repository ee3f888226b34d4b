"""The last step: the corpus itself, proof that no record is missing, and what people read about it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from components.corpus import datacard, known, merge, papers_table, profile, report, stats
from components.corpus.decide import file_name
from components.corpus.index import INDEX
from components.corpus.ledger import LEDGER, Ledger
from components.corpus.left_over import CONTAMINATION, left_over
from components.corpus.plan import Plan
from components.corpus.prepare import DOCUMENTS, MATCHES, REJECTS
from components.corpus.settings import GROUPS, CorpusSettings
from components.platform import storage
from components.platform.manifest import PROFILE_NAME, REPORT_NAME, Manifest
from components.platform.progress import Progress

METADATA = "metadata of papers"
"""What the ledger calls Semantic Scholar's `papers`; no source can have this name."""


class Build:
    """One corpus in one folder.

    Args:
        tables: metadata that documents were joined with.
        shards: prepared documents, in the order of the recipe's sources and of their files.
        decisions: what becomes of them, and the tokenizer.
        tokens: their tokens, in the same order.
        before: corpora that this one adds to, the newest first.
    """

    def __init__(
        self,
        settings: CorpusSettings,
        plan: Plan,
        tables: Sequence[Manifest],
        shards: Sequence[Manifest],
        decisions: Manifest,
        tokens: Sequence[Manifest],
        folder: Path,
        before: Sequence[Manifest] = (),
    ) -> None:
        self.settings, self.plan, self.folder, self.before = settings, plan, folder, before
        self.tables, self.shards, self.decisions, self.tokens = tables, shards, decisions, tokens
        self.ledger = Ledger()

    def run(self) -> dict[str, Any]:
        """Returns the metadata of the manifest."""
        parts = [self._part(shard, tokens) for shard, tokens in zip(self.shards, self.tokens, strict=True)]
        for table in (table.metadata for table in self.tables):
            self.ledger.add(METADATA, "read", table["records"], table["rows"], table["drops"])
        for manifest in (*self.shards, self.decisions):
            self.ledger.extend(manifest.read_json(LEDGER))
        before = [part.documents_in() for part in parts]
        merge.mix(parts, [shard.fetch(INDEX) for shard in self.shards], self.settings)
        for part, rows in zip(parts, before, strict=True):
            surplus = rows - part.documents_in()
            drops = {"replay_surplus": surplus} if surplus else {}
            self.ledger.add(part.source, "mixture", rows, rows - surplus, drops)
        started = time.process_time()
        self._write(parts)
        self._merge_seconds = time.process_time() - started
        for part in ("tokenizer", known.FOLDER):
            shutil.copytree(self.decisions.local() / part, self.folder / part, dirs_exist_ok=True)
        rejects = [table.fetch(papers_table.REJECTS) for table in self.tables]
        self._join(REJECTS, rejects + [shard.fetch(REJECTS) for shard in self.shards])
        self._join(MATCHES, [shard.fetch(MATCHES) for shard in self.shards])
        return self._describe()

    def _part(self, shard: Manifest, tokens: Manifest) -> merge.Part:
        source = self.settings.source(shard.metadata["source"])
        documents, decided = shard.fetch(DOCUMENTS), self.decisions.fetch(file_name(shard))
        return merge.Part.of(source.name, source.group, documents, tokens.local(), decided)

    def _groups(self) -> list[str]:
        """Groups of this recipe, in the order of the paper's Table 1."""
        present = {source.group for source in self.settings.sources}
        return [group for group in GROUPS if group in present]

    def _write(self, parts: Sequence[merge.Part]) -> None:
        """All groups at once, in threads: what takes time is compression and files, which leave Python alone."""
        groups = self._groups()
        by_group = [[part for part in parts if part.group == group] for group in groups]
        with Progress("corpus  merge", float(len(groups)), "groups") as progress, ThreadPoolExecutor() as pool:
            for _ in pool.map(merge.write, [self.folder] * len(groups), groups, by_group):
                progress.update()

    def _join(self, name: str, paths: Sequence[Path]) -> None:
        """The lines of several files in one."""
        temporary = self.folder / f".{name}.tmp"
        with temporary.open("wb") as joined:
            for path in paths:
                with path.open("rb") as lines:
                    shutil.copyfileobj(lines, joined)
        temporary.rename(self.folder / name)

    def _describe(self) -> dict[str, Any]:
        """Prove the ledger, and write what people and programs read."""
        vocab_size = self.decisions.metadata["vocab_size"]
        counts = stats.counted(self.folder, self._groups())
        documents = stats.written(self.folder)
        self.ledger.check(
            {source.name: documents.filter(source=source.name).height for source in self.settings.sources}
        )
        figures = stats.statistics(counts, vocab_size)
        figures["contacts_replaced"] = sum(shard.metadata["contacts_replaced"] for shard in self.shards)
        ledger = self.ledger.rows()
        matches = [orjson.loads(line) for line in (self.folder / MATCHES).read_bytes().splitlines()]
        spent = profile.summed([shard.read_json(PROFILE_NAME) for shard in (*self.shards, *self.tokens)])
        characters = sum(splits["characters"] for splits in figures["total"].values())
        spent["merge"] = {"cpu_seconds": self._merge_seconds, "megabytes": characters / 1e6}
        for name, content in {
            "stats.json": json.dumps(figures, indent=1),
            "sources.json": json.dumps(stats.origins(documents, self.plan.names_by_source()), indent=1),
            LEDGER: json.dumps(ledger, indent=1),
            CONTAMINATION: json.dumps(left_over(self.folder, self.settings.decontaminate, matches), indent=1),
            PROFILE_NAME: json.dumps(spent, indent=1),
            "datacard.md": datacard.markdown(self.settings, self.plan, figures, documents, ledger, self.before),
            REPORT_NAME: report.page(figures, documents, ledger, matches, spent),
        }.items():
            storage.write_atomically(self.folder / name, content)
        return {"groups": figures["groups"], "mixture": figures["mixture"], "vocab_size": vocab_size}
