"""Progress lines: how far, how fast, how long still. Plain lines, so they read well in a terminal and in pod logs."""

from __future__ import annotations

import sys
import time
from types import TracebackType

LINE_INTERVAL_SECONDS = 2.0


class Progress:
    """Counts units of work and prints a line at most every two seconds, and one at the end.

    Example line: `pretrain  12/40 iterations  30%  1.3 iterations/s  ETA 0:21  loss=7.812 lr=2.9e-04`
    """

    def __init__(self, task: str, total: float | None, unit: str, done: float = 0) -> None:
        """`done` is the work that an earlier, interrupted run finished: shown, but not counted in the rate."""
        self.task, self.total, self.unit, self.done = task, total, unit, done
        self._start_done = done
        self._started = self._printed = time.monotonic()
        self._figures: dict[str, float | str] = {}

    def update(self, n: float = 1, **figures: float | str) -> None:
        """Count `n` more units; `figures` are shown behind the line."""
        self.done += n
        self._figures = figures or self._figures
        if time.monotonic() - self._printed >= LINE_INTERVAL_SECONDS:
            self._print()

    def close(self) -> None:
        self._print(last=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.close()

    def _print(self, last: bool = False) -> None:
        self._printed = time.monotonic()
        elapsed = self._printed - self._started
        rate = (self.done - self._start_done) / elapsed if elapsed > 0 else 0.0
        parts = [self.task]
        if self.total:
            parts += [
                f"{_number(self.done)}/{_number(self.total)} {self.unit}",
                f"{self.done / self.total:.0%}",
            ]
        else:
            parts.append(f"{_number(self.done)} {self.unit}")
        parts.append(f"{_number(rate)} {self.unit}/s")
        if last:
            parts.append(f"took {_duration(elapsed)}")
        elif self.total and rate > 0:
            parts.append(f"ETA {_duration((self.total - self.done) / rate)}")
        parts += [" ".join(f"{key}={_figure(value)}" for key, value in self._figures.items())]
        print("  ".join(part for part in parts if part), file=sys.stdout, flush=True)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
