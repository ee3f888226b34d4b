"""Run a recipe's DAG on this machine with kfp.local."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import FrameType

import psutil
from kfp import local
from rich.text import Text

from components.platform.errors import UserError
from components.platform.manifest import Manifest
from components.platform.step import RUNNER_VARIABLE
from components.platform.tracking.notes import artifact_of
from components.platform.tracking.runs import finish_pipeline
from pipelines.console import QuietConsole
from pipelines.meditron import meditron
from pipelines.recipe import Recipe
from pipelines.submission import Submission
from pipelines.temporary import temporary_folder


def run(submission: Submission) -> Manifest | None:
    """Run every stage as a process, or a container; finished ones are found again, an interrupted one resumes.

    Returns:
        The registry's manifest: its `summary.json` tells about the whole run. None: a retraining found too little news.

    Raises:
        UserError: a step failed; what it printed says why.
    """
    recipe = submission.recipe
    run_id = os.environ["KFP_RUN_ID"] = f"{recipe.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    for of_no_matter_here in (".*non-Python base image.*", ".*have no effect in the current local runner.*"):
        warnings.filterwarnings("ignore", message=of_no_matter_here)
    os.environ[RUNNER_VARIABLE] = str(os.getpid())
    status = "FAILED"
    with temporary_folder() as root, _steps(recipe, run_id) as runner:
        workspace = tempfile.mkdtemp(dir=root)  # KFP mounts it beside the root, so it can't be the root itself
        local.init(runner, pipeline_root=root, workspace_root=workspace)
        try:
            with _signals_end_steps(), contextlib.redirect_stdout(QuietConsole(sys.stdout)):
                meditron(submission)()
            registered = artifact_of(recipe.platform, "register")
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        except RuntimeError as error:  # what kfp.local raises when a step fails
            message = Text.from_ansi(str(error)).plain  # it comes in colours
            raise UserError(
                f"{message}\nThe step's own output above says why. Run again to go on from there."
            ) from None
        finally:
            finish_pipeline(recipe.platform, status)
    return Manifest.load(registered) if registered else None


def _steps(recipe: Recipe, run_id: str) -> AbstractContextManager[local.SubprocessRunner | local.DockerRunner]:
    if recipe.cluster.runner == "docker":
        from pipelines.containers import container_steps  # needs the docker package

        return container_steps(recipe, run_id)
    return contextlib.nullcontext(local.SubprocessRunner(use_venv=False))


@contextlib.contextmanager
def _signals_end_steps() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the running step too.

    kfp.local would wait for the step, and a signal may have reached this process alone.
    """

    def interrupt(signum: int, frame: FrameType | None) -> None:
        for step in psutil.Process().children():
            step.terminate()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
