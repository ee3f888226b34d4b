"""Runs a job on this machine under torchrun, and leaves no process behind however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path

from components.platform.errors import SettingsError
from components.platform.launcher.job import INTERRUPTED_EXIT_CODE, JobSpec, LaunchError, LaunchInterrupted
from components.platform.launcher.processes import die_with_parent, kill_marked
from components.platform.launcher.rank import REPORTS_VARIABLE, RankReport, read_reports
from components.platform.launcher.settings import LauncherSettings
from components.platform.launcher.signals import stop_signals

TRACEBACK_LINES = 30
KILL_MARGIN_SECONDS = 5  # torchrun kills its ranks after the grace period; after this much more we kill torchrun
POLL_SECONDS = 0.1

# Two lines of torchrun's own log: how each rank failed, and which ranks torchrun itself had to kill.
_FAILED_RANK = re.compile(r"rank\s*: (\d+) \(local_rank: \d+\)\s+exitcode\s*: (-?\d+) \(pid: (\d+)\)")
_KILLED_BY_TORCHRUN = re.compile(r"Unable to shutdown process (\d+) via")


def run_torchrun(job: JobSpec, settings: LauncherSettings) -> None:
    """Run `job` to its end, its output streamed through line by line.

    SIGTERM or SIGINT to this process becomes one SIGTERM to the ranks, which then have `grace_seconds`.

    Raises:
        LaunchInterrupted: the ranks were told to stop and saved a checkpoint (exit code 75).
        LaunchError: a rank failed, the job ran out of time, or it was stopped without a checkpoint.
        SettingsError: the job wants several nodes.
    """
    if job.nnodes != 1:
        raise SettingsError(
            f"{job.name}: {job.nnodes} nodes, but `launcher.kind: torchrun` is one machine; "
            "use a smaller layout or `kind: pytorchjob`"
        )
    with tempfile.TemporaryDirectory(prefix="meditron-ranks-") as folder:
        torchrun = _Torchrun(job, settings, folder)
        with stop_signals(torchrun.stop):
            torchrun.wait()
        _raise_unless_well(job, torchrun, read_reports(Path(folder)))


def _start(job: JobSpec, settings: LauncherSettings, reports: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={job.nproc_per_node}", f"--shutdown-timeout={max(1, round(settings.grace_seconds))}"]
    command += ["-m", "components.platform.launcher.rank", job.module, *job.args]
    environment = {"OMP_NUM_THREADS": "1", **os.environ, **job.env, REPORTS_VARIABLE: reports}
    parent = os.getpid()
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches us only; we pass on one SIGTERM
        # When we are killed outright, torchrun gets the SIGTERM that we can no longer send.
        preexec_fn=lambda: die_with_parent(signal.SIGTERM, parent),
    )


class _Torchrun:
    """The running torchrun process, the thread that passes its output on, and why it was told to stop."""

    def __init__(self, job: JobSpec, settings: LauncherSettings, reports: str) -> None:
        self.stop_reason: str | None = None
        self.last_lines: deque[str] = deque(maxlen=40 * job.nproc_per_node + 100)
        self._settings = settings
        self._reports = reports
        self._process = _start(job, settings, reports)
        self._deadline = time.monotonic() + settings.timeout_seconds
        self._reader = threading.Thread(target=self._pass_output_on, daemon=True)
        self._reader.start()

    @property
    def returncode(self) -> int:
        return self._process.returncode

    def stop(self, reason: str) -> None:
        """Send one SIGTERM; further calls change nothing, so Ctrl-C and a SIGTERM together are one stop."""
        if self.stop_reason is None:
            self.stop_reason = reason
            self._deadline = time.monotonic() + self._settings.grace_seconds + KILL_MARGIN_SECONDS
            self._process.terminate()

    def wait(self) -> None:
        """Wait for the end, then kill whatever is left of the job."""
        try:
            while self._process.poll() is None:
                if time.monotonic() > self._deadline:
                    if self.stop_reason is not None:
                        break
                    self.stop(f"it ran longer than launcher.timeout_seconds={self._settings.timeout_seconds}")
                time.sleep(POLL_SECONDS)
        finally:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()
            kill_marked(REPORTS_VARIABLE, self._reports)
            self._reader.join(timeout=KILL_MARGIN_SECONDS)

    def _pass_output_on(self) -> None:
        for line in self._process.stdout:
            self.last_lines.append(line)
            sys.stdout.write(line)
            sys.stdout.flush()
        self._process.stdout.close()


def _raise_unless_well(job: JobSpec, torchrun: _Torchrun, reports: list[RankReport]) -> None:
    if torchrun.returncode == 0 and torchrun.stop_reason is None:
        return
    exit_codes = {report.exit_code for report in reports}
    reason = torchrun.stop_reason or "a rank asked for it"
    if INTERRUPTED_EXIT_CODE in exit_codes and exit_codes <= {0, INTERRUPTED_EXIT_CODE}:
        raise LaunchInterrupted(f"{job.name} stopped because {reason}; a checkpoint is saved, start it again to go on")
    output = "".join(torchrun.last_lines)
    failed = [report for report in reports if report.exit_code not in (0, INTERRUPTED_EXIT_CODE)]
    killed = _killed_rank(output)
    if killed is not None:  # its peers' errors are only that it is gone
        raise LaunchError(f"{job.name}: {killed}")
    if failed:
        tail = "\n".join(failed[0].traceback.rstrip().splitlines()[-TRACEBACK_LINES:])
        raise LaunchError(f"{job.name}: rank {failed[0].rank} failed (exit code {failed[0].exit_code})\n{tail}")
    if torchrun.stop_reason is not None:
        raise LaunchError(f"{job.name} stopped because {reason}, before its ranks saved a checkpoint")
    tail = "".join(list(torchrun.last_lines)[-TRACEBACK_LINES:])
    raise LaunchError(f"{job.name}: torchrun failed (exit code {torchrun.returncode})\n{tail}")


def _killed_rank(output: str) -> str | None:
    """Tell of the rank that a signal ended which neither torchrun nor we sent, if there is one."""
    by_torchrun = set(_KILLED_BY_TORCHRUN.findall(output))
    for rank, exit_code, pid in _FAILED_RANK.findall(output):
        if int(exit_code) < 0 and int(exit_code) != -signal.SIGTERM and pid not in by_torchrun:
            name = signal.Signals(-int(exit_code)).name
            hint = " (the machine may be out of memory)" if name == "SIGKILL" else ""
            return f"rank {rank} was killed by {name}{hint}"
    return None
