"""What a command costs: processor time and memory of the process and of all that it starts."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import psutil

PR_SET_CHILD_SUBREAPER = 36  # Linux: orphaned descendants become children of this process
SAMPLE_SECONDS = 0.1
# One thread per process for every library that asks: the figures are for one core
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Usage:
    """Processor time (user and system) and wall time in seconds, and the most memory in use; of all processes."""

    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int


def measured(command: Sequence[str], log: Path, env: dict[str, str]) -> Usage:
    """Run a command to its end, with `env` added to the environment, its output in `log`.

    Memory is sampled ten times a second, so a peak shorter than that can be missed.

    Raises:
        RuntimeError: it failed; the message ends with the last lines of its output.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_supervised, command, log, env).result()


def _supervised(command: Sequence[str], log: Path, env: dict[str, str]) -> Usage:
    """`measured`, in a process that has no other children: it adopts and waits for whatever the command leaves."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    started = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **env})
    cpu, peak, status = 0.0, 0, None
    while True:
        try:
            # Any descendant: those whose parent is gone would be counted by nobody else
            pid, ended, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid:
            cpu += usage.ru_utime + usage.ru_stime
            status = ended if pid == process.pid else status
            continue
        peak = max(peak, _taken())
        time.sleep(SAMPLE_SECONDS)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}\n" + "\n".join(tail))
    return Usage(cpu, time.monotonic() - started, peak)


def _taken() -> int:
    """Bytes of memory that all descendants hold and the system can't take back; what several share is counted once.

    Mapped files are left out: their pages are given up as soon as something else needs the memory.
    """
    total = 0
    for child in psutil.Process().children(recursive=True):
        with suppress(OSError):  # it has just ended
            lines = Path(f"/proc/{child.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
            total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
    return total
