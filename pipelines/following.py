"""Watching a run until it ends: a line for each change."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from components.platform.errors import DetachedError, UserError
from pipelines.kfp_connection import KfpError
from pipelines.kfp_server import KfpServer
from pipelines.run_state import FAILED, PENDING, SUCCEEDED, Run, Task, duration

POLL_SECONDS = 10.0
OUTAGE_SECONDS = 900.0  # how long the server may be away before we give up watching; the run does not mind
WORDS = {PENDING: "waiting"}


def follow(server: KfpServer, run_id: str, come_back: str) -> Run:
    """Print what changes until the run has ended.

    Args:
        come_back: the command that goes on watching, shown when this is interrupted.

    Raises:
        UserError: the run failed or was cancelled; the message names the steps.
        DetachedError: Ctrl-C.
    """
    before: dict[str, str] = {}
    try:
        while True:
            run = _patiently(server, run_id)
            now = datetime.now(UTC)
            for task in run.tasks:
                line = describe(task, now)
                if before.get(task.name, WORDS[PENDING]) != line:
                    print(f"{now.astimezone():%H:%M:%S}  {task.name:<20}  {line}", flush=True)
                before[task.name] = line
            if run.has_ended:
                return _ended(server, run, now)
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        raise DetachedError(f"not watching any more; run {run_id} goes on. Come back with\n  {come_back}") from None


def describe(task: Task, now: datetime) -> str:
    """Such as "running, 3 of 16 done" or "succeeded in 4 min 2 s"; the same text while nothing changes."""
    text = WORDS.get(task.state, task.state.lower())
    seconds = task.seconds(now)
    if task.end and seconds is not None:
        text += f" in {duration(seconds)}"
    elif task.count > 1:
        text += f", {task.ended} of {task.count} done"
    return f"{text}: {task.error}" if task.error else text


def _ended(server: KfpServer, run: Run, now: datetime) -> Run:
    if run.state == SUCCEEDED:
        print(f"run {run.id} succeeded in {duration(run.seconds(now))}", flush=True)
        return run
    failed = [f"{task.name}: {task.error or 'see its log'}" for task in run.tasks if task.state == FAILED]
    why = "; ".join(failed) or run.error or "see its page"
    raise UserError(
        f"run {run.id} {run.state.lower()} after {duration(run.seconds(now))}: {why}\n{server.page(run.id)}"
    )


def _patiently(server: KfpServer, run_id: str) -> Run:
    """Ask until the server answers."""
    deadline = time.monotonic() + OUTAGE_SECONDS
    is_told = False
    while True:
        try:
            return server.run(run_id)
        except KfpError as error:
            if not error.is_passing or time.monotonic() > deadline:
                raise
            if not is_told:
                print(f"{error}\nstill trying; the run goes on meanwhile", flush=True)
            is_told = True
            time.sleep(POLL_SECONDS)
