"""Ends jobs whose pipeline run is over: they would hold their GPUs to their own end."""

from __future__ import annotations

from collections.abc import Callable

from components.platform.launcher.cluster import Cluster
from components.platform.launcher.identity import RUN_LABEL
from components.platform.launcher.kinds import KINDS
from components.platform.launcher.status import job_status

RETRY_SECONDS = 2


def reap(namespace: str, run_is_alive: Callable[[str], bool]) -> list[str]:
    """Delete the jobs of ours whose run is gone or finished.

    Jobs that have ended hold nothing, and stay to be looked at as long as their operator keeps them.

    Args:
        run_is_alive: tells of a run's id whether it still goes on; asked once per run.

    Returns:
        Names of the deleted jobs.

    Raises:
        UserError: there is no cluster, or its API server refuses.
    """
    cluster = Cluster(namespace, RETRY_SECONDS)
    alive: dict[str, bool] = {}
    deleted = []
    for kind in KINDS.values():
        for job in cluster.jobs(kind, RUN_LABEL):
            run = job["metadata"]["labels"][RUN_LABEL]
            if run not in alive:
                alive[run] = run_is_alive(run)
            has_ended = bool({kind.succeeded, kind.failed} & job_status(job).conditions.keys())
            if not alive[run] and not (has_ended and kind.expires):
                cluster.delete(kind, job["metadata"]["name"])
                deleted.append(job["metadata"]["name"])
    return deleted
