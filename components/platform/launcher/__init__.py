"""Starts a job on many ranks, here or on a cluster, and returns when it has finished."""

from __future__ import annotations

from components.platform.launcher.job import (
    INTERRUPTED_EXIT_CODE,
    JobSpec,
    LaunchError,
    LaunchInterrupted,
)
from components.platform.launcher.settings import LauncherSettings

__all__ = ["INTERRUPTED_EXIT_CODE", "JobSpec", "LaunchError", "LaunchInterrupted", "launch"]


def launch(job: JobSpec, settings: LauncherSettings) -> None:
    """Run `job` to its end the way `settings.kind` says.

    Raises:
        LaunchInterrupted: the job was told to stop and saved a checkpoint.
        LaunchError: the job failed; the message holds the tail of the first failing rank.
    """
    # Imported on demand: the kubernetes client is absent from images that only run torchrun.
    if settings.kind != "torchrun":
        from components.platform.launcher.cluster_job import run_on_cluster

        run_on_cluster(job, settings)
    else:
        from components.platform.launcher.torchrun import run_torchrun

        run_torchrun(job, settings)
