"""Decisions over all documents at once: which are the same work, which are held out, which are repeated.

One process, on the indexes of all shards. It reads one column at a time, so its memory is some 90 bytes per document
and 16 per pair of neighbours that share a key (`dedup`; measured by `benchmarks.corpus.decide`), whatever the
documents' length and the number of keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from components.corpus import dedup, encoder, identify, known, split, tokenizer, upsampling
from components.corpus.index import INDEX, Index
from components.corpus.ledger import LEDGER, Ledger
from components.corpus.plan import shard_name
from components.corpus.prepare import DOCUMENTS
from components.corpus.settings import CorpusSettings
from components.corpus.sources.pubmed_xml import DELETED
from components.corpus.tables import row_groups
from components.platform.errors import InputError
from components.platform.manifest import Manifest
from components.platform.model_folder import load_tokenizer

LATEST_FIRST = {"pubmed_xml"}  # update files list a citation again when it was revised
COMPARED_CHARACTERS = 2_000_000  # on these the fast tokenizer must agree with the other: a second's work


class Decisions:
    """What becomes of each document; rows in the order of the shards.

    Attributes:
        dropped: why a document is left out; null while it is in, shape (n,).
        held_out: whether it is for validation, shape (n,), bool.
        copies: how often it is trained on, shape (n,), uint8.
    """

    def __init__(self, settings: CorpusSettings, shards: Sequence[Manifest], before: Sequence[Manifest] = ()) -> None:
        self.settings, self.shards, self.before = settings, shards, before
        self.sources = [settings.source(shard.metadata["source"]) for shard in shards]
        self.index = Index([shard.fetch(INDEX) for shard in shards])
        self.dropped = pl.repeat(None, len(self.index), dtype=pl.Categorical, eager=True)
        self.ledger = Ledger()
        deleted = [shard.metadata["deleted_pmids"] for shard in shards]
        self._deleted = self._in_same_source(deleted) if any(deleted) else np.zeros(len(self.index), dtype=bool)

    def make(self) -> None:
        if self._deleted.any():
            reasons = pl.Series([None, DELETED], dtype=pl.Categorical)
            self._drop("deletions", reasons.gather(self._deleted.astype(np.uint32)))
        labels = self._leave_out_duplicates()
        keys = self.index.column("key").to_numpy()
        fractions = self.index.spread([source.held_out for source in self.sources], np.float64)
        self.held_out = split.fractions(keys, self.settings.seed, "split") < fractions
        self.copies = self._copies(keys, labels)
        self.labels = labels

    def _in_same_source(self, pmids: Sequence[Sequence[str]]) -> npt.NDArray[np.bool_]:
        """Documents with a PMID that a shard of the same source lists, shape (n,).

        Wherever it lists them: PubMed gives a deleted PMID to no other citation.
        """
        names = [source.name for source in self.sources]
        of_document = self.index.spread([names.index(name) for name in names], np.int32)
        keys, documents = self.index.present("key_pmid")
        found = np.zeros(len(self.index), dtype=bool)
        for name in set(names):
            listed = {pmid for own, shard in zip(names, pmids, strict=True) if own == name for pmid in shard}
            hashes = np.array([identify.key(f"pmid:{pmid}") for pmid in listed], dtype=np.uint64)
            found[documents[np.isin(keys, hashes) & (of_document[documents] == names.index(name))]] = True
        return found

    def _leave_out_duplicates(self) -> npt.NDArray[np.int32]:
        """Returns the work that each document is, shape (n,)."""
        works = dedup.Works(len(self.index))
        for name in identify.KEYS:
            works.add(f"duplicate_{name}", *self.index.present(f"key_{name}"))
        for name in self.index.bands:
            works.add("near_duplicate", *self.index.present(name))
        labels = works.labels()
        groups = self.index.spread([dedup.PREFERENCE.index(source.group) for source in self.sources], np.int8)
        if self.before:
            reasons = pl.Series([None, "known_work"], dtype=pl.Categorical)
            is_known = known.of_works(self.index, labels, groups, self.before)
            self._drop("known", reasons.gather(is_known.astype(np.uint32)))
        latest_first = self.index.spread([source.format in LATEST_FIRST for source in self.sources], bool)
        stays = dedup.chosen(labels, dedup.ranks(groups, latest_first, last=self._deleted))
        reasons = pl.Series([None, *works.keys], dtype=pl.Categorical)
        self._drop("dedup", reasons.gather(np.where(stays, dedup.KEEP, works.shared)))
        if self.settings.decontaminate:
            self._drop("decontaminate", self._contaminated(labels))
        return labels

    def _contaminated(self, labels: npt.NDArray[np.int32]) -> pl.Series:
        """A work is contaminated when any of its documents is, such as the abstract of a paper."""
        benchmarks = self.settings.decontaminate.benchmarks
        found, documents = self.index.present("contaminated")
        first = np.full(labels.max(initial=-1) + 1, len(benchmarks), dtype=np.int8)
        np.minimum.at(first, labels[documents], [benchmarks.index(name) for name in found])
        reasons = pl.Series([*(f"contaminated_{name}" for name in benchmarks), None], dtype=pl.Categorical)
        return reasons.gather(first[labels])

    def _copies(self, keys: npt.NDArray[np.uint64], labels: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
        """How often each document is trained on; those held out are never repeated."""
        copies = np.ones(keys.size, dtype=np.uint8)
        if self.settings.upsampling is None:
            return copies
        papers = self.index.spread([source.group == "papers" for source in self.sources], bool)
        excluded, counts = upsampling.decided(
            self.index, self.settings.upsampling, papers, labels, keys, self.settings.seed
        )
        self._drop("upsampling", excluded)
        return np.where(self.held_out, copies, counts)

    def _drop(self, step: str, reasons: pl.Series) -> None:
        """Drop the documents that have a reason, and enter the step in the ledger."""
        was_in = self.dropped.is_null()
        self.dropped = pl.select(pl.coalesce(self.dropped, reasons)).to_series()
        by_source: dict[str, Counter[str]] = {}
        rows = Counter[str]()
        for source, before, after in zip(
            self.sources, self.index.cut(was_in), self.index.cut(self.dropped), strict=True
        ):
            now = after.filter(before)
            rows[source.name] += now.len()
            drops = now.drop_nulls().cast(pl.String).value_counts()
            by_source.setdefault(source.name, Counter()).update(dict(drops.iter_rows()))
        for source, drops in by_source.items():
            self.ledger.add(source, step, rows[source], rows[source] - drops.total(), dict(sorted(drops.items())))

    def _ranks(self) -> npt.NDArray[np.int8]:
        """What of each document's work a later corpus may still take in (`known.write`), shape (n,)."""
        groups = self.index.spread([dedup.PREFERENCE.index(source.group) for source in self.sources], np.int8)
        contaminated = self.dropped.cast(pl.String).str.starts_with("contaminated_").fill_null(False).to_numpy()
        held_out = self.held_out & self.dropped.is_null().to_numpy()
        return known.ranks(self.labels, np.where(contaminated | held_out, known.NEVER, groups).astype(np.int8))

    def write(self, folder: Path) -> None:
        """One file of decisions per shard, and the ledger."""
        columns = (self.dropped, self.held_out, self.copies)
        for shard, *values in zip(self.shards, *map(self.index.cut, columns), strict=True):
            path = folder / file_name(shard)
            path.parent.mkdir(parents=True, exist_ok=True)
            pl.DataFrame(dict(zip(("dropped", "held_out", "copies"), values, strict=True))).write_parquet(path)
        known.write(folder, self.index, self._ranks())
        (folder / LEDGER).write_bytes(orjson.dumps(self.ledger.rows()))


def decide(
    settings: CorpusSettings,
    shards: Sequence[Manifest],
    taken: Path | None,
    folder: Path,
    before: Sequence[Manifest] = (),
) -> dict[str, Any]:
    """Decide on all documents, and make the tokenizer; returns the metadata of the manifest.

    Args:
        shards: prepared documents, in the order of the recipe's sources and of their files.
        taken: folder of the tokenizer to take; None: one is trained on the documents that are in.
        before: corpora that this one adds to.

    Raises:
        InputError: a source has no document, and there is no corpus before.
    """
    if not before:
        _expect_documents(settings, shards)
    decisions = Decisions(settings, shards, before)
    decisions.make()
    decisions.write(folder)
    if taken:
        tokenizer.save_taken(taken, folder / "tokenizer")
    else:
        train = settings.tokenizer.train
        texts = sampled_texts(decisions, train.sample_characters)
        tokenizer.save_trained(tokenizer.trained(texts, train.vocab_size), folder / "tokenizer")
    return {
        "documents": len(decisions.index),
        "in": decisions.dropped.null_count(),
        "vocab_size": load_tokenizer(folder / "tokenizer").get_vocab_size(with_added_tokens=True),
        "fast_tokenizer": encoder.agrees(folder / "tokenizer", list(first_texts(shards, COMPARED_CHARACTERS))),
    }


def sampled_texts(decisions: Decisions, characters: int) -> Iterator[str]:
    """Texts of training documents drawn by hash, about so many characters of them, in the order of the corpus."""
    index = decisions.index
    pool = np.flatnonzero(decisions.dropped.is_null().to_numpy() & ~decisions.held_out)
    keys, sizes = (index.column(name).to_numpy()[pool] for name in ("key", "characters"))
    wanted = np.zeros(len(index), dtype=bool)
    wanted[pool[split.sample(keys, sizes, characters, decisions.settings.seed, "tokenizer")]] = True
    for shard, mask in zip(decisions.shards, index.cut(wanted), strict=True):
        if mask.any():
            start = 0
            for group in row_groups(shard.fetch(DOCUMENTS), ["text"]):
                yield from group["text"].filter(mask[start : start + group.height])
                start += group.height


def first_texts(shards: Sequence[Manifest], characters: int) -> Iterator[str]:
    """The first texts of each source, about so many characters in all; reads no more of the shards than these."""
    by_source = [list(own) for _, own in groupby(shards, key=lambda shard: shard.metadata["source"])]
    for own in by_source:
        left = characters // len(by_source)
        groups = (group for shard in own for group in row_groups(shard.fetch(DOCUMENTS), ["text"]))
        texts = chain.from_iterable(group["text"] for group in groups)
        while left > 0 and (text := next(texts, None)) is not None:
            left -= len(text)
            yield text


def _expect_documents(settings: CorpusSettings, shards: Sequence[Manifest]) -> None:
    for source in settings.sources:
        own = [shard for shard in shards if shard.metadata["source"] == source.name]
        if any(shard.metadata["documents"] for shard in own):
            continue
        ledger = Ledger()
        for shard in own:
            ledger.extend(shard.read_json(LEDGER))
        drops = ", ".join(f"{count} {reason}" for reason, count in ledger.drops(source.name).items()) or "no records"
        raise InputError(
            f"source {source.name}: no document in {', '.join(source.paths)} ({drops}); "
            f"expected documents in format {source.format}"
        )


def file_name(shard: Manifest) -> str:
    """Where the decisions on a shard's documents lie."""
    return f"decisions/{shard_name(shard)}.parquet"
