"""What the pod of a node runs: `python -m components.platform.launcher.node MODULE ARGS...`.

It is torchrun for the ranks of this node, told about the others through PET_* variables. torchrun alone would end with
exit code 1 whatever happened. Here the exit code tells how the ranks ended (75 asked to stop, 128 + n killed by signal
n), and the pod's termination message tells which rank failed first, when, and with which traceback.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from components.platform.launcher.job import INTERRUPTED_EXIT_CODE
from components.platform.launcher.rank import REPORTS_VARIABLE, RankReport, read_reports

MESSAGE_FILE = "/dev/termination-log"
MESSAGE_FILE_VARIABLE = "MEDITRON_TERMINATION_LOG"
MESSAGE_BYTES = 4096  # Kubernetes cuts what is longer


@dataclass(frozen=True)
class NodeEnd:
    """The rank of a node that failed first; `ended` in seconds since the epoch, by the clock of the node."""

    rank: int
    exit_code: int
    ended: float
    traceback: str = ""

    def to_message(self) -> str:
        """JSON that fits into a pod's termination message; the traceback loses its beginning where it must."""
        end = self
        while len(message := json.dumps(asdict(end))) > MESSAGE_BYTES:
            end = replace(end, traceback=end.traceback[len(end.traceback) // 8 + 1 :])
        return message

    @classmethod
    def from_message(cls, message: str) -> NodeEnd | None:
        """None when something else has written the message, or nothing has."""
        try:
            return cls(**json.loads(message))
        except (ValueError, TypeError):
            return None


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # or process 1 would ignore it
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
    from torch.distributed.run import main as torchrun

    failures: dict[int, ProcessFailure] = {}
    exit_code = 0
    with tempfile.TemporaryDirectory(prefix="meditron-ranks-") as folder:
        os.environ[REPORTS_VARIABLE] = folder
        try:
            torchrun(["-m", "components.platform.launcher.rank", *sys.argv[1:]])
        except ChildFailedError as error:
            failures, exit_code = error.failures, 1
        except SignalException as error:
            exit_code = 128 + error.sigval
        reports = read_reports(Path(folder))
    if exit_code == 0:
        return
    codes = {report.exit_code for report in reports}
    if INTERRUPTED_EXIT_CODE in codes and codes <= {0, INTERRUPTED_EXIT_CODE}:
        sys.exit(INTERRUPTED_EXIT_CODE)
    end = first_to_fail({rank: (f.exitcode, float(f.timestamp)) for rank, f in failures.items()}, reports)
    if end is not None:
        exit_code = end.exit_code if end.exit_code > 0 else 128 - end.exit_code
        print(f"rank {end.rank} failed first (exit code {end.exit_code})", file=sys.stderr, flush=True)
        Path(os.environ.get(MESSAGE_FILE_VARIABLE, MESSAGE_FILE)).write_text(end.to_message())
    sys.exit(exit_code)


def first_to_fail(failures: dict[int, tuple[int, float]], reports: list[RankReport]) -> NodeEnd | None:
    """The rank that others of its node failed because of.

    Args:
        failures: rank → (exit code, when torchrun saw it in seconds since the epoch); negative codes are signals.
        reports: of ranks that ended by themselves, the earliest in front.
    """
    seen = min((when for _, when in failures.values()), default=time.time())
    for rank, (exit_code, when) in failures.items():  # the reports of its peers are only that it is gone
        if exit_code < 0 and exit_code != -signal.SIGTERM and when <= seen:
            return NodeEnd(rank, exit_code, when)
    for report in reports:
        if report.exit_code not in (0, INTERRUPTED_EXIT_CODE):
            return NodeEnd(report.rank, report.exit_code, report.ended, report.traceback)
    return None


if __name__ == "__main__":
    main()
