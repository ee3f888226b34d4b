"""What torchrun starts as each rank: `python -m components.platform.launcher.rank MODULE ARGS...`.

It runs MODULE as `__main__`, dies with torchrun, and leaves a report of how the rank ended, because torchrun
itself tells neither the traceback nor, after a signal, the exit code.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

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
    if folder is None:  # in a pod the log is the report
        return
    report = RankReport(int(os.environ["RANK"]), exit_code, time.time(), trace)
    temporary = Path(folder, f"{report.rank}.tmp")
    temporary.write_text(json.dumps(asdict(report)))
    os.replace(temporary, temporary.with_suffix(".json"))


def main() -> None:
    die_with_parent(signal.SIGKILL)
    # Whole lines in one write each: ranks share a pipe and must not cut into one another's lines.
    sys.stdout.reconfigure(line_buffering=True)
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
