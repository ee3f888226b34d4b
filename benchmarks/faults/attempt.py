"""One `meditron run` with all its processes, which may be killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.faults.recipe import SAMPLE

ROOT = Path(__file__).parents[2]
RUN = "import sys; from pipelines.cli import main; sys.exit(main(sys.argv[1:]))"
ARGUMENTS = ["run", "--recipe", "recipe.yaml", "--data", str(SAMPLE)]
LEFT_ALONE_SECONDS = 30.0  # until every process of a killed run has to be gone
LOG = "log.txt"
FUNCTION = "--function_to_execute"


@dataclass(frozen=True)
class Kill:
    """A process that was killed.

    Attributes:
        step: of the DAG, that was running; "between steps" if none was.
        victim: what it was.
        orphans: processes of the run that lived on.
    """

    step: str
    victim: str
    orphans: int


def attempt(home: Path, kill_after: float | None, chance: random.Random) -> Kill | int:
    """Run the recipe in `home`; after `kill_after` seconds kill one of its processes, chosen at random.

    Returns:
        The kill, or the run's exit code where it ended before.
    """
    environment: Mapping[str, str] = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with (home / LOG).open("w") as log:
        command = [sys.executable, "-c", RUN, *ARGUMENTS]
        run = psutil.Popen(command, cwd=home, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        return run.wait(timeout=kill_after)
    except psutil.TimeoutExpired:
        return _kill_one(run, chance)


def _kill_one(run: psutil.Popen, chance: random.Random) -> Kill | int:
    family = [run, *run.children(recursive=True)]
    candidates = [(process, kind) for process in family if (kind := _kind(process, run))]
    if not candidates:  # it ended this very moment
        return run.wait()
    # First what kind, or the eight ranks would be hit eight times as often.
    kind = chance.choice(sorted({kind for _, kind in candidates}))
    victim = chance.choice([process for process, its_kind in candidates if its_kind == kind])
    step = _step(victim, family)
    with suppress(psutil.NoSuchProcess):
        victim.kill()
    orphans = _outlived(run, family)
    return Kill(step, kind, orphans)


def _outlived(run: psutil.Popen, family: list[psutil.Process]) -> int:
    """Processes that are still there some time after the run is; they are killed then."""
    with suppress(psutil.TimeoutExpired):
        run.wait(timeout=10 * LEFT_ALONE_SECONDS)
    deadline = time.monotonic() + LEFT_ALONE_SECONDS
    while (left := [process for process in family if _is_alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return len(left)


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _kind(process: psutil.Process, run: psutil.Popen) -> str:
    """What a process is to the run; empty where it is none of ours or gone."""
    if process.pid == run.pid:
        return "meditron run"
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        command = " ".join(process.cmdline())
        if "executor_main" in command:
            return "step" if process.name() != "sh" else "KFP's shell"
        if "RANK" in process.environ() or "LOCAL_RANK" in process.environ():
            return "rank"
        if "torchrun" in command or "torch.distributed" in command:
            return "torchrun"
        if "multiprocessing" in command:
            return "worker"
    return ""


def _step(victim: psutil.Process, family: list[psutil.Process]) -> str:
    """The step that a process belongs to; of one that is above all steps, what was running."""
    with suppress(psutil.NoSuchProcess):
        for process in (victim, *victim.parents()):
            if name := _function(process):
                return name
    return next(filter(None, map(_function, family)), "between steps")


def _function(process: psutil.Process) -> str:
    """What KFP's executor is told to execute."""
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        command = process.cmdline()
        if FUNCTION in command[:-1]:
            return command[command.index(FUNCTION) + 1].replace("_", "-")
    return ""
