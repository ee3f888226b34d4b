"""Retraining: what a pretrained model is given when it goes on with a corpus of news."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.platform.errors import InputError
from components.platform.indexed import IndexedDataset, IndexedWriter
from components.platform.manifest import Manifest
from components.training.batch_sizes import BatchSizes
from components.training.data.windows import Windows
from components.training.job import CorpusSource
from components.training.settings import PretrainSettings

NEW = "new"
REPLAY = "replay"
"""The group of general text. A corpus of news has its own, so none is drawn from the corpora before."""

TRAIN = "tokens/train"
COPIED_AT_ONCE = 256  # documents


def new_tokens(corpus: Manifest) -> int:
    """Training tokens of a corpus of news, without those of replay."""
    groups = corpus.read_json("stats.json")["groups"]
    return sum(splits["train"]["tokens"] for group, splits in groups.items() if group != REPLAY)


def retraining_source(
    settings: PretrainSettings, corpus: Path, before: Sequence[Manifest], stream: Path
) -> CorpusSource:
    """The new documents, and `old_share` of samples from the corpora before.

    Args:
        corpus: folder of the corpus of news.
        before: the corpora that it adds to, the newest first.
        stream: where the new documents of all groups are laid end to end, without suffix: a group of news may be
            too small for a sample of its own, and a group's share is that of its tokens anyway.

    Raises:
        InputError: nothing is new, or an earlier corpus is not as it was.
    """
    groups = [group for group, share in _mixture(corpus).items() if share]
    if not groups:
        raise InputError(f"{corpus}: nothing to train on; expected a corpus with new documents")
    datasets = [IndexedDataset(corpus / TRAIN / group) for group in groups]
    with IndexedWriter(stream, datasets[0].dtype) as writer:
        for dataset in datasets:
            for first in range(0, len(dataset), COPIED_AT_ONCE):
                writer.add_many(*dataset.run(first, min(COPIED_AT_ONCE, len(dataset) - first)))
    old = _old_groups(before) if settings.retraining.old_share else {}
    sizes = {name: len(Windows(prefix, settings.sequence_length)) for name, prefix in old.items()}
    total = sum(sizes.values())
    weights = {name: settings.retraining.old_share * size / total for name, size in sizes.items() if size}
    prefixes = {name: old[name] for name in weights}
    return CorpusSource(
        prefixes={NEW: stream, **prefixes},
        weights={NEW: 1 - settings.retraining.old_share if total else 1.0, **weights},
    )


def retraining_iterations(settings: PretrainSettings, source: CorpusSource) -> int:
    """Optimizer steps that go through the new documents as often as `epochs` says."""
    samples = len(Windows(source.prefixes[NEW], settings.sequence_length)) * settings.retraining.epochs
    return BatchSizes(settings).batches(math.ceil(samples / source.weights[NEW]))


def held_out(before: Sequence[Manifest]) -> Path:
    """The folder whose held-out documents all runs of a chain are validated on: that of the first corpus.

    So the loss of a retraining can be compared with that of the run it goes on from, and shows what was forgotten.
    """
    return before[-1].local("tokens/validation/")


def _old_groups(before: Sequence[Manifest]) -> Mapping[str, Path]:
    """Token files of earlier corpora; one and the same has another name, so another order, in each retraining."""
    found = {}
    for number, corpus in enumerate(before, start=1):
        folder = corpus.local(f"{TRAIN}/")
        for path in sorted((folder / TRAIN).glob("*.idx")):
            if path.stem != REPLAY:
                found[f"before-{number}/{path.stem}"] = path.with_suffix("")
    return found


def _mixture(corpus: Path) -> dict[str, float]:
    return json.loads((corpus / "stats.json").read_text(encoding="utf-8"))["mixture"]
