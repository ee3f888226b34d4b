"""What a run tells of itself while it trains: speed, memory, waiting, and whether the loss has left its course."""

from __future__ import annotations

import json
import statistics
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
import torch.distributed as dist

from components.platform.storage import write_atomically
from components.training.settings import TrainingSettings

# The spread is taken as at least this share of the median: on a flat curve MAD is so small that noise would be a spike.
SMALLEST_SPREAD = 0.01


class Stopwatch:
    """Seconds of one iteration, from its making, and how many of them were spent waiting for samples."""

    def __init__(self) -> None:
        self._started = perf_counter()
        self.waited = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time inside the `with` block as waiting for samples."""
        started = perf_counter()
        yield
        self.waited += perf_counter() - started

    def seconds(self) -> float:
        return perf_counter() - self._started


@dataclass(frozen=True)
class Speedometer:
    """Turns seconds into the speeds that training runs are compared by.

    Attributes:
        sequence_length: tokens per sample.
        parameter_flops, attention_flops: per token (flops.py).
        peak_flops: FLOP/s of all devices together; None: unknown, and no MFU is given.
    """

    sequence_length: int
    parameter_flops: float
    attention_flops: float
    peak_flops: float | None

    def figures(self, seconds: float, samples: int) -> dict[str, float]:
        """Of an iteration over `samples` samples, on all ranks together.

        `tokens_per_second`; and `mfu`, with the FLOPs of attention, and `mfu_6n`, without, as shares of the peak.
        """
        speed = samples * self.sequence_length / seconds
        if self.peak_flops is None:
            return {"tokens_per_second": speed}
        return {
            "tokens_per_second": speed,
            "mfu": speed * (self.parameter_flops + self.attention_flops) / self.peak_flops,
            "mfu_6n": speed * self.parameter_flops / self.peak_flops,
        }


def peak_memory(device: torch.device) -> int:
    """The most bytes this process has held so far: in tensors on a GPU, resident in memory on a CPU (Linux)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Not getrusage's ru_maxrss: a process that was forked inherits its parent's.
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def largest_over_ranks(values: Sequence[float], device: torch.device) -> list[float]:
    """The largest of each value over all ranks, which all must call it."""
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return tensor.tolist()


class LossWatch:
    """Tells a spike of the loss from its noise.

    An iteration is suspicious when its loss is above median + `loss_spike_factor` · MAD of the last
    `loss_spike_window` losses that were not suspicious themselves; MAD is the median distance from the median, which
    a few outliers don't move. `loss_spike_iterations` suspicious iterations in a row are a spike. The first
    `loss_spike_window` iterations are only watched.
    """

    def __init__(self, settings: TrainingSettings, history: Iterable[tuple[int, float]] = ()) -> None:
        """`history`: the iterations done before and their losses, in order; the same history, the same verdicts."""
        self._settings = settings
        self._history: list[tuple[int, float]] = []
        self._usual: deque[float] = deque(maxlen=settings.loss_spike_window)
        self.suspicious = 0  # iterations in a row up to the newest
        self.limit: float | None = None  # that the newest loss was held against; None: too few losses before it
        self.newest: float | None = None
        for iteration, loss in history:
            self.add(iteration, loss)

    @property
    def is_spike(self) -> bool:
        return self.suspicious >= self._settings.loss_spike_iterations

    def add(self, iteration: int, loss: float) -> None:
        """Take the loss of the next iteration."""
        self._history.append((iteration, loss))
        self.newest = loss
        self.limit = self._current_limit()
        if self.limit is not None and loss > self.limit:
            self.suspicious += 1
        else:
            self.suspicious = 0
            self._usual.append(loss)

    def rewound(self, iteration: int) -> LossWatch:
        """The watch as it was after `iteration`."""
        return LossWatch(self._settings, (entry for entry in self._history if entry[0] <= iteration))

    def _current_limit(self) -> float | None:
        factor = self._settings.loss_spike_factor
        if not factor or len(self._usual) < self._settings.loss_spike_window:
            return None
        median = statistics.median(self._usual)
        spread = statistics.median(abs(loss - median) for loss in self._usual)
        return median + factor * max(spread, SMALLEST_SPREAD * median)


class SkippedBatches:
    """Global batches that are left out since a spike, in a file that a resumed run reads again.

    The batch of an iteration stays a pure function: of the iteration's number and of what the file lists.
    """

    def __init__(self, path: Path) -> None:
        """`path`: JSON, a list of {"first", "end", "rewound_to"} (batches first to end - 1); absent means none."""
        self._path = path
        self._skips: list[dict[str, int]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []

    @property
    def ranges(self) -> list[range]:
        """What each spike has cost, in the order of the spikes."""
        return [range(skip["first"], skip["end"]) for skip in self._skips]

    def batch(self, iteration: int) -> int:
        """Number of the global batch of an iteration; both count from 0."""
        number, skipped_to = iteration, 0
        for skip in sorted(self._skips, key=lambda skip: skip["first"]):
            first = max(skip["first"], skipped_to)  # a later rewind may have gone back behind an earlier one
            if first <= number and first < skip["end"]:
                number += skip["end"] - first
                skipped_to = skip["end"]
        return number

    def already_rewound_to(self, iteration: int) -> bool:
        """Whether an earlier spike led back to the same checkpoint."""
        return any(skip["rewound_to"] == iteration for skip in self._skips)

    def add(self, rewound_to: int, iteration: int) -> range:
        """Leave out the batches of the iterations from `rewound_to` to `iteration` - 1 (from 0); returns them."""
        batches = range(self.batch(rewound_to), self.batch(iteration - 1) + 1)
        self._skips.append({"first": batches.start, "end": batches.stop, "rewound_to": rewound_to})
        return batches

    def save(self) -> None:
        """Write the file; for one rank to call."""
        write_atomically(self._path, json.dumps(self._skips, indent=1))
