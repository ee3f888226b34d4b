"""`meditron submit`: upload a recipe's pipeline, or find it there, start a run of it and watch."""

from __future__ import annotations

from datetime import datetime

from pipelines.following import follow
from pipelines.images import unpinned
from pipelines.kfp_server import KfpServer
from pipelines.submission import Submission


def submit(submission: Submission, recipe_name: str, name: str | None = None, watch: bool = True) -> str:
    """Start a run on the server that the recipe names; its id.

    Args:
        recipe_name: how the user called the recipe, for the commands that are shown.
        name: of the run; by default that of the recipe, and the time.

    Raises:
        UserError: the server refused, or the run failed while it was watched.
    """
    recipe = submission.recipe
    server = KfpServer(recipe.cluster.kubeflow)
    warn_of_tags(submission)
    version = server.upload(submission)
    print(f"pipeline version {version.name}  {'uploaded' if version.is_new else 'is there already'}", flush=True)
    run_id = server.start(version, name or f"{recipe.name} {datetime.now():%Y-%m-%d %H:%M:%S}")
    print(f"run {run_id}  {server.page(run_id)}", flush=True)
    come_back = f"meditron status --recipe {recipe_name} {run_id} --follow"
    if watch:
        follow(server, run_id, come_back)
    else:
        print(f"watch it with\n  {come_back}")
    return run_id


def warn_of_tags(submission: Submission) -> None:
    if tags := unpinned(submission.recipe):
        print(f"warning: not named by digest, so another run may get other images: {', '.join(tags)}", flush=True)
