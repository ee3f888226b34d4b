"""The job that measures the network before a job of several nodes may start."""

from __future__ import annotations

from components.platform.launcher.job import JobSpec
from components.platform.launcher.settings import LauncherSettings

GATE_SECONDS = 900


def gate_job(job: JobSpec, settings: LauncherSettings) -> JobSpec:
    """A short job on the same pods as `job` that fails where all-reduce is slower than the recipe wants."""
    return JobSpec(
        name=f"{job.name}-network",
        module="components.platform.launcher.bandwidth",
        args=("--minimum", str(settings.min_bus_bandwidth_gb_per_second)),
        nproc_per_node=job.nproc_per_node,
        nnodes=job.nnodes,
        env=job.env,
    )


def gate_settings(settings: LauncherSettings) -> LauncherSettings:
    """It has the job's time in the queue, but little time to run."""
    return settings.model_copy(update={"timeout_seconds": GATE_SECONDS})
