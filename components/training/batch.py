"""Which samples a rank sees in an iteration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from components.training.data.pretraining import PretrainingData, ValidationData
from components.training.data.sft import ConversationData
from components.training.data.windows import Windows
from components.training.engine.engine import MicroBatch
from components.training.job import ConversationSource, TrainingJob
from components.training.parallel.layout import ParallelLayout
from components.training.settings import TrainingSettings

Sample = tuple[np.ndarray, np.ndarray]
"""Tokens, int64 [sequence_length + 1], and loss mask, float32 [sequence_length]."""


class Batches:
    """Cuts global batches out of numbered samples.

    Global batch i holds samples i·G to (i+1)·G - 1 whatever the layout, so training may continue on another number
    of data-parallel ranks and see the same samples.
    """

    def __init__(self, sample: Callable[[int], Sample], settings: TrainingSettings, layout: ParallelLayout) -> None:
        self._sample, self._settings, self._layout = sample, settings, layout

    def train(self, iteration: int) -> list[MicroBatch]:
        """This rank's micro-batches of an iteration (counted from 0); none on stages that see no samples."""
        size = self._settings.global_batch_size
        return self._micro_batches(iteration * size, self._settings.micro_batches, (iteration + 1) * size)

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
        tokens = torch.from_numpy(np.stack([tokens for tokens, _ in samples]))
        mask = torch.from_numpy(np.stack([mask for _, mask in samples]))
        counts = torch.tensor([index < end for index in indices], dtype=torch.float32)
        return MicroBatch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), mask * counts[:, None])


def training_batches(job: TrainingJob, layout: ParallelLayout) -> Batches:
    """Global batches to learn from, without end."""
    settings = job.settings
    if isinstance(job.data, ConversationSource):
        conversations = ConversationData(
            job.data.folder, settings.sequence_length, settings.seed, settings.prompt_weight
        )
        return Batches(conversations.sample, settings, layout)
    blend = PretrainingData(job.data.prefixes, job.data.weights, settings.sequence_length, settings.seed)
    return Batches(_every_token_counts(blend.sample), settings, layout)


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
        batches = Batches(_every_token_counts(data.sample), settings, layout)
        groups.append(HeldOutGroup(group, share, *batches.validation(min(rounds * together, available[group]))))
    return groups


def _every_token_counts(sample: Callable[[int], np.ndarray]) -> Callable[[int], Sample]:
    def with_mask(index: int) -> Sample:
        tokens = sample(index)
        return tokens, np.ones(len(tokens) - 1, dtype=np.float32)

    return with_mask
