"""`meditron cancel`: end a run and its training jobs.

KFP ends the pods of a run but knows nothing of the jobs that they started.
"""

from __future__ import annotations

import time

from components.platform.errors import UserError
from pipelines.jobs import delete_jobs_of, has_jobs
from pipelines.kfp_server import KfpServer
from pipelines.recipe import Recipe

POLL_SECONDS = 2.0
PATIENCE_SECONDS = 120.0


def cancel(recipe: Recipe, run_id: str) -> None:
    """End the run, and delete its jobs until none can come any more: a step may just have been starting one.

    Raises:
        UserError: the server refused, or the run has not ended after two minutes.
    """
    server = KfpServer(recipe.cluster.kubeflow)
    if not server.run(run_id).has_ended:
        server.terminate(run_id)
    deleted: dict[str, None] = {}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        has_ended = server.run(run_id).has_ended  # asked first: what a job's step did before is seen below
        if has_jobs(recipe):
            deleted |= dict.fromkeys(delete_jobs_of(recipe, run_id))
        if has_ended:
            break
        if time.monotonic() > deadline:
            raise UserError(
                f"run {run_id} was told to end {PATIENCE_SECONDS:.0f} s ago and has not; run this again, or look at "
                f"{server.page(run_id)}"
            )
        time.sleep(POLL_SECONDS)
    print(f"run {run_id} has ended; jobs deleted: {', '.join(deleted) or 'none'}")
