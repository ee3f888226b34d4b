"""The corpus stage: from the recipe's sources to documents and tokens."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from components.corpus import datacard, dedup, mixture, report, split, stats, tokenizer, write
from components.corpus.ledger import Ledger
from components.corpus.prepare import REJECTS, Prepared, prepare
from components.corpus.settings import GROUPS, CorpusSettings
from components.corpus.tokenize import Encoder
from components.platform import storage
from components.platform.context import PlatformSettings
from components.platform.data import SourceFile, resolve
from components.platform.indexed import IndexedDataset, IndexedWriter
from components.platform.manifest import Manifest
from components.platform.progress import Progress
from components.platform.stage import produce

WORK = ".work"  # intermediate results, from which an interrupted run continues; not part of the artifact
DONE = ".work-done"


def run(settings: CorpusSettings, platform: PlatformSettings) -> Manifest:
    """Build the corpus, or find the one that is already there.

    Raises:
        InputError: a source file is missing, or a source yields no document.
    """
    files = {
        source.name: (_resolved(platform, source.paths), _resolved(platform, source.papers))
        for source in settings.sources
    }
    # Only these files: the folder may be that of a whole model, weights included
    taken = _resolved(platform, [f"{settings.tokenizer.path}/tokenizer*.json"]) if settings.tokenizer.path else []
    all_files = [file for pair in files.values() for part in pair for file in part] + taken

    def work(folder: Path) -> dict[str, Any]:
        return Build(settings, files, taken, folder).run()

    return produce("corpus", settings, {}, platform, work, source_files=all_files)


def _resolved(platform: PlatformSettings, patterns: list[str]) -> list[SourceFile]:
    """Files of several patterns; one that two patterns match is read once."""
    return list({file.name: file for pattern in patterns for file in resolve(platform, pattern)}.values())


class Build:
    """One build in one folder. Each step leaves its result in the folder, and skips what it finds finished."""

    def __init__(
        self,
        settings: CorpusSettings,
        files: dict[str, tuple[list[SourceFile], list[SourceFile]]],
        taken_tokenizer: list[SourceFile],
        folder: Path,
    ) -> None:
        self.settings, self.files, self.folder = settings, files, folder
        self.taken_tokenizer = taken_tokenizer[0].path.parent if taken_tokenizer else None
        self.ledger = Ledger()

    def run(self) -> dict[str, Any]:
        """Returns the metadata of the manifest."""
        prepared = self._prepare()
        index = self._index(prepared)
        index = self._drop("dedup", index, dedup.duplicates(index))
        self._make_tokenizer(prepared, index)
        encoder = Encoder(self.folder / "tokenizer")
        index, tokens = self._tokenize(prepared, index, encoder)
        left = index.filter(pl.col("dropped").is_null())
        surplus = mixture.surplus_rows(left, self.settings.replay_share, self.settings.seed)
        index = self._drop("mixture", index, index.select(reason=_where_row_in(surplus, "replay_surplus"))["reason"])
        self._write(prepared, index, tokens, encoder)
        return self._describe(prepared, encoder)

    def _prepare(self) -> list[Prepared]:
        loaded = tokenizer.load(self.taken_tokenizer) if self.taken_tokenizer else None
        reserved = tokenizer.reserved(loaded)
        prepared = []
        for source in self.settings.sources:
            files, papers = self.files[source.name]
            folder = self.folder / WORK / "prepared" / source.name
            prepared.append(prepare(source, files, papers, self.settings, reserved, folder))
            self.ledger.extend(prepared[-1].ledger_rows())
        return prepared

    def _index(self, prepared: list[Prepared]) -> pl.DataFrame:
        """What decisions need to know of each document: a row each, in the order of the recipe, without texts.

        The column `dropped` says why a document was left out; null while it is in.
        """
        columns = ["id", "source", "group", *dedup.KEYS]
        length = pl.col("text").str.len_chars().alias("characters")
        index = pl.concat([part.documents().select(*columns, length).collect() for part in prepared])
        held_out = {source.name: source.held_out for source in self.settings.sources}
        return index.with_row_index("row").with_columns(
            split=split.assigned(index, held_out, self.settings.seed), dropped=pl.lit(None, pl.String)
        )

    def _drop(self, step: str, index: pl.DataFrame, reasons: pl.Series) -> pl.DataFrame:
        """Drop the documents that have a reason, and enter the step in the ledger."""
        before = index.filter(pl.col("dropped").is_null())
        index = index.with_columns(dropped=pl.coalesce("dropped", reasons))
        after = index.filter(pl.col("row").is_in(before["row"].implode()))
        for source in self.settings.sources:
            dropped = after.filter(pl.col("source") == source.name)["dropped"]
            drops = dict(dropped.drop_nulls().value_counts().sort("dropped").iter_rows())
            self.ledger.add(source.name, step, dropped.len(), dropped.null_count(), drops)
        return index

    def _make_tokenizer(self, prepared: list[Prepared], index: pl.DataFrame) -> None:
        folder = self.folder / "tokenizer"
        if folder.exists():
            return
        if self.taken_tokenizer:
            tokenizer.save_taken(self.taken_tokenizer, folder)
            return
        train = self.settings.tokenizer.train
        pool = index.filter(pl.col("dropped").is_null() & (pl.col("split") == "train"))
        rows = split.sample(pool, "characters", train.sample_characters, self.settings.seed, "tokenizer")
        with Progress("corpus  train tokenizer", float(len(rows)), "documents") as progress:
            texts = chain.from_iterable(self._texts(prepared, index, pl.col("row").is_in(rows.implode()), progress))
            tokenizer.save_trained(tokenizer.trained(texts, train.vocab_size), folder)

    def _texts(
        self, prepared: list[Prepared], index: pl.DataFrame, chosen: pl.Expr, progress: Progress
    ) -> Iterator[pl.Series]:
        """Texts of the chosen documents, in the order of the index, part by part."""
        for part in prepared:
            mask = index.filter(pl.col("source") == part.source.name).select(chosen).to_series()
            start = 0
            for path in part.parts():
                texts = pl.read_parquet(path, columns=["text"])["text"]
                wanted = texts.filter(mask[start : start + len(texts)])
                start += len(texts)
                yield wanted
                progress.update(len(wanted))

    def _tokenize(
        self, prepared: list[Prepared], index: pl.DataFrame, encoder: Encoder
    ) -> tuple[pl.DataFrame, dict[str, IndexedDataset]]:
        """Token files by source, of the documents that are in.

        The index gets two columns: `tokens`, a document's length, and `token_row`, its place in the token file.
        """
        kept = pl.col("dropped").is_null()
        datasets = {}
        with Progress("corpus  tokenize", float(index.select(kept.sum()).item()), "documents") as progress:
            for part in prepared:
                prefix = self.folder / WORK / "tokens" / part.source.name
                if not prefix.with_name(f"{prefix.name}.idx").exists():
                    with IndexedWriter(prefix, encoder.dtype) as writer:
                        for texts in self._texts([part], index, kept, progress):
                            writer.add_many(*encoder.encode(texts.to_list()))
                datasets[part.source.name] = IndexedDataset(prefix)
        lengths = np.zeros(index.height, dtype=np.int64)
        lengths[index["dropped"].is_null().to_numpy()] = np.concatenate([data.lengths for data in datasets.values()])
        token_row = kept.cast(pl.Int64).cum_sum().over("source") - 1
        return index.with_columns(tokens=pl.Series(lengths), token_row=token_row), datasets

    def _write(
        self, prepared: list[Prepared], index: pl.DataFrame, tokens: dict[str, IndexedDataset], encoder: Encoder
    ) -> None:
        for name, group in product(stats.SPLITS, self._groups()):
            chosen = pl.col("dropped").is_null() & (pl.col("split") == name) & (pl.col("group") == group)
            if index.filter(chosen).is_empty():
                continue
            rows, frames = [], []
            for part in (part for part in prepared if part.source.group == group):
                decisions = index.filter(pl.col("source") == part.source.name)
                rows.append((tokens[part.source.name], decisions.filter(chosen)["token_row"].to_numpy()))
                columns = decisions.lazy().select("split", "tokens", "dropped")
                frames.append(pl.concat([part.documents(), columns], how="horizontal"))
            path = self.folder / "documents" / name / f"{group}.parquet"
            write.write_documents(path, pl.concat(frames).filter(chosen))
            write.write_tokens(self.folder / "tokens" / name / group, rows, encoder.dtype)

    def _groups(self) -> list[str]:
        """Groups of this recipe, in the order of the paper's Table 1."""
        present = {source.group for source in self.settings.sources}
        return [group for group in GROUPS if group in present]

    def _describe(self, prepared: list[Prepared], encoder: Encoder) -> dict[str, Any]:
        """Prove the ledger, write what people and programs read, and clear away the intermediate results."""
        counts = stats.counted(self.folder, self._groups())
        documents = stats.written(self.folder)
        heights = {source.name: documents.filter(source=source.name).height for source in self.settings.sources}
        self.ledger.check(heights)
        figures = stats.statistics(counts, encoder.vocab_size)
        with (self.folder / ".rejects.tmp").open("wb") as rejects:
            for part in prepared:
                rejects.write((part.folder / REJECTS).read_bytes())
        (self.folder / ".rejects.tmp").rename(self.folder / REJECTS)
        ledger = self.ledger.rows()
        card = datacard.markdown(self.settings, self.files, figures, documents, ledger)
        page = report.page(figures, documents, ledger)
        for name, content in {
            "stats.json": json.dumps(figures, indent=1),
            "ledger.json": json.dumps(ledger, indent=1),
            "datacard.md": card,
            "report.html": page,
        }.items():
            storage.write_atomically(self.folder / name, content)
        # Renamed first: were the run to end while deleting, half of it would look like finished work.
        shutil.rmtree(self.folder / DONE, ignore_errors=True)
        os.replace(self.folder / WORK, self.folder / DONE)
        shutil.rmtree(self.folder / DONE)
        return {"groups": figures["groups"], "mixture": figures["mixture"], "vocab_size": encoder.vocab_size}


def _where_row_in(rows: pl.Series, reason: str) -> pl.Expr:
    return pl.when(pl.col("row").is_in(rows.implode())).then(pl.lit(reason))
