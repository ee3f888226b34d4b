"""How many samples each iteration has: always the same, or fewer at first (Smith et al. 2018; GPT-3, §2.3)."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from components.training.settings import TrainingSettings


class Step(NamedTuple):
    """Global batches of one size, from number `first_batch` and sample `first_sample` on; all count from 0."""

    first_batch: int
    first_sample: int
    size: int


class BatchSizes:
    """Size and first sample of each global batch, as in Megatron's `rampup_batch_size`.

    While the samples seen before a batch are fewer than (k + 1) / steps of the ramp's, it has start + k · increment.
    """

    def __init__(self, settings: TrainingSettings) -> None:
        self._steps: list[Step] = []
        ramp, final = settings.rampup_batch_size, settings.global_batch_size
        batch = sample = 0
        if ramp is not None:
            count = (final - ramp.start) // ramp.increment
            for number in range(count):
                size = ramp.start + number * ramp.increment
                missing = (number + 1) * ramp.samples - sample * count
                batches = max(0, -(-missing // (size * count)))
                self._steps += [Step(batch, sample, size)] * bool(batches)
                batch, sample = batch + batches, sample + batches * size
        self._steps.append(Step(batch, sample, final))

    def samples(self, batch: int) -> range:
        """Numbers of the samples of a global batch."""
        step = self._steps[bisect_right(self._steps, batch, key=lambda step: step.first_batch) - 1]
        first = step.first_sample + (batch - step.first_batch) * step.size
        return range(first, first + step.size)

    def batches(self, samples: int) -> int:
        """How many global batches it takes to see so many samples."""
        step = self._steps[max(0, bisect_right(self._steps, samples - 1, key=lambda step: step.first_sample) - 1)]
        return step.first_batch + -(-(samples - step.first_sample) // step.size)
