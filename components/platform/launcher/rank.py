"""What torchrun starts as each rank: `python -m components.platform.launcher.rank MODULE ARGS...`.

It runs MODULE as `__main__`, dies with torchrun, and leaves a report of how the rank ended, because torchrun
itself tells neither the traceback nor, after a signal, the exit code.
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import signal
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from components.platform.launcher.processes import die_with_parent

REPORTS_VARIABLE = "MEDITRON_RANK_REPORTS"


@dataclass(frozen=True)
class RankReport:
    """How a rank ended by itself (a killed rank leaves no report); `ended` in seconds since the epoch."""

    rank: int
    exit_code: int
    ended: float
    traceback: str


def read_reports(folder: Path) -> list[RankReport]:
    """All reports in `folder`, the rank that ended first in front."""
    reports = [RankReport(**json.loads(path.read_text())) for path in folder.glob("*.json")]
    return sorted(reports, key=lambda report: (report.ended, report.rank))


def _report(exit_code: int, trace: str) -> None:
    folder = os.environ.get(REPORTS_VARIABLE)
    if folder is None:  # started by hand
        return
    report = RankReport(int(os.environ["RANK"]), exit_code, time.time(), trace)
    temporary = Path(folder, f"{report.rank}.tmp")
    temporary.write_text(json.dumps(asdict(report)))
    os.replace(temporary, temporary.with_suffix(".json"))


class RankPrefix:
    """A text stream that begins each line with its rank, and passes on whole lines in one write each."""

    def __init__(self, stream: TextIO, rank: int) -> None:
        self._stream = stream
        self._prefix = f"[rank {rank}] "
        self._unfinished = ""

    def write(self, text: str) -> int:
        *lines, self._unfinished = (self._unfinished + text).split("\n")
        if lines:
            self._stream.write("".join(f"{self._prefix}{line}\n" for line in lines))
            self._stream.flush()
        return len(text)

    def flush(self) -> None:
        """An unfinished line waits for its end; others would be written into it."""

    def finish(self) -> None:
        if self._unfinished:
            self.write("\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _share_output() -> None:
    """Ranks share a pipe: they must not cut into one another's lines, and of those it must be clear whose they are.

    Rank 0's are the job's progress, and stay as they are.
    """
    sys.stdout.reconfigure(line_buffering=True)
    rank = int(os.environ.get("RANK", "0"))
    if rank != 0:
        sys.stdout, sys.stderr = RankPrefix(sys.stdout, rank), RankPrefix(sys.stderr, rank)
        atexit.register(sys.stdout.finish)
        atexit.register(sys.stderr.finish)


def main() -> None:
    die_with_parent(signal.SIGKILL)
    _share_output()
    sys.argv = sys.argv[1:]
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        is_code = stop.code is None or isinstance(stop.code, int)
        _report((stop.code or 0) if is_code else 1, "" if is_code else str(stop.code))
        raise
    except BaseException:
        _report(1, traceback.format_exc())
        raise
    _report(0, "")


if __name__ == "__main__":
    main()
