"""Which samples a rank sees in an iteration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from components.training.batch_sizes import BatchSizes
from components.training.data.pretraining import PretrainingData, ValidationData
from components.training.data.sample import Sample
from components.training.data.windows import Windows
from components.training.engine.engine import MicroBatch
from components.training.fine_tuning import conversation_data
from components.training.job import ConversationSource, TrainingJob
from components.training.parallel.layout import ParallelLayout
from components.training.settings import PretrainSettings, TrainingSettings


class Batches:
    """Cuts global batches out of numbered samples.

    Which samples a global batch holds depends on its number only, whatever the layout, so training may continue on
    another number of data-parallel ranks and see the same samples.
    """

    def __init__(self, sample: Callable[[int], Sample], settings: TrainingSettings, layout: ParallelLayout) -> None:
        self._sample, self._settings, self._layout = sample, settings, layout
        self.sizes = BatchSizes(settings)

    def train(self, number: int) -> tuple[list[MicroBatch], int]:
        """This rank's micro-batches of a global batch (counted from 0), and their number on every rank.

        There are none on stages that see no samples.
        """
        samples = self.sizes.samples(number)
        count = len(samples) // (self._settings.micro_batch_size * self._layout.data_parallel_size)
        return self._micro_batches(samples.start, count, samples.stop), count

    def validation(self, num_samples: int) -> tuple[list[MicroBatch], int]:
        """This rank's micro-batches of the first `num_samples` samples, and their number on every rank.

        What is missing to a whole micro-batch on each rank is filled with samples that count nothing.
        """
        together = self._settings.micro_batch_size * self._layout.data_parallel_size
        count = -(-num_samples // together)
        return self._micro_batches(0, count, num_samples), count

    def _micro_batches(self, first: int, count: int, end: int) -> list[MicroBatch]:
        if not (self._layout.is_first_stage or self._layout.is_last_stage):
            return []
        size = self._settings.micro_batch_size
        step = size * self._layout.data_parallel_size
        start = first + size * self._layout.data_rank
        return [
            self._micro_batch(range(begin, begin + size), end) for begin in range(start, start + count * step, step)
        ]

    def _micro_batch(self, indices: range, end: int) -> MicroBatch:
        samples = [self._sample(min(index, end - 1)) for index in indices]
        tokens = torch.from_numpy(np.stack([sample.tokens for sample in samples]))
        mask = torch.from_numpy(np.stack([sample.loss_mask for sample in samples]))
        counts = torch.tensor([index < end for index in indices], dtype=torch.float32)
        positions = None
        if samples[0].positions is not None:
            positions = torch.from_numpy(np.stack([sample.positions for sample in samples]))
        return MicroBatch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), mask * counts[:, None], positions)


def training_batches(job: TrainingJob, layout: ParallelLayout) -> Batches:
    """Global batches to learn from, without end."""
    settings = job.settings
    if isinstance(job.data, ConversationSource):
        return Batches(conversation_data(job.data.folder, settings).sample, settings, layout)
    blend = PretrainingData(job.data.prefixes, job.data.weights, settings.sequence_length, settings.seed)
    return Batches(_corpus_sample(blend, settings), settings, layout)


@dataclass(frozen=True)
class HeldOutGroup:
    """A group's part of the validation.

    Attributes:
        name: the group.
        share: its share of all held-out text.
        batches: this rank's micro-batches.
        count: their number on every rank.
    """

    name: str
    share: float
    batches: list[MicroBatch]
    count: int


def validation_groups(job: TrainingJob, layout: ParallelLayout) -> list[HeldOutGroup]:
    """What each held-out group is validated on; groups without a full sample are left out.

    A group gets its share of `num_samples`, in whole micro-batches on every data-parallel rank and at least one, as
    far as it has samples.
    """
    if job.validation is None:
        return []
    settings = job.settings
    together = settings.micro_batch_size * layout.data_parallel_size
    prefixes = sorted(job.validation.prefixes.items())
    available = {group: len(Windows(prefix, settings.sequence_length)) for group, prefix in prefixes}
    groups = []
    for group, prefix in prefixes:
        if not available[group]:
            continue
        share = available[group] / sum(available.values())
        rounds = max(1, round(job.validation.num_samples * share / together))
        data = ValidationData({group: prefix}, settings.sequence_length, settings.seed)
        batches = Batches(_corpus_sample(data, settings), settings, layout)
        groups.append(HeldOutGroup(group, share, *batches.validation(min(rounds * together, available[group]))))
    return groups


def _corpus_sample(data: PretrainingData | ValidationData, settings: PretrainSettings) -> Callable[[int], Sample]:
    if settings.document_boundaries == "ignore":
        return lambda index: Sample.of_one_document(data.sample(index))
    return lambda index: Sample.of_separate_documents(data.sample(index), data.positions(index))
