"""Training jobs of runs: they are their own objects on the cluster, and can outlive the run that started them."""

from __future__ import annotations

from collections.abc import Callable

from components.platform.errors import UserError
from components.platform.launcher.identity import BY_HAND
from pipelines.kfp_connection import KfpError
from pipelines.kfp_server import KfpServer
from pipelines.recipe import Recipe
from pipelines.run_state import ENDED


def has_jobs(recipe: Recipe) -> bool:
    return recipe.platform.launcher.kind != "torchrun"


def delete_jobs_of(recipe: Recipe, run_id: str) -> list[str]:
    """Delete the jobs of one run; their names."""
    return _reap(recipe, lambda owner: owner != run_id)


def delete_jobs_without_run(recipe: Recipe, pretend: bool = False) -> list[str]:
    """Delete the jobs of all runs that have ended or are gone; what belongs to no pipeline stays.

    Args:
        pretend: only say which runs' jobs would go.

    Returns:
        Names of the jobs; of the runs when only pretending.

    Raises:
        UserError: the recipe starts no jobs on a cluster, or a server refuses.
    """
    if not has_jobs(recipe):
        raise UserError(f"recipe {recipe.name} starts its ranks with torchrun: there are no jobs on a cluster")
    is_alive = _asking(KfpServer(recipe.cluster.kubeflow))
    if not pretend:
        return _reap(recipe, is_alive)
    ended: dict[str, None] = {}

    def note(run_id: str) -> bool:
        if not is_alive(run_id):
            ended[run_id] = None
        return True

    _reap(recipe, note)
    return list(ended)


def _asking(server: KfpServer) -> Callable[[str], bool]:
    def is_alive(run_id: str) -> bool:
        """Only a server that says so makes a run dead; one that can't tell is an error."""
        if run_id == BY_HAND.run_id:
            return True
        try:
            state = server.run(run_id).state
        except KfpError as error:
            if error.status != 404:
                raise
            return False
        return state not in ENDED and state != "CANCELING"

    return is_alive


def _reap(recipe: Recipe, is_alive: Callable[[str], bool]) -> list[str]:
    # Imported on demand: the kubernetes client is absent from images that only run torchrun.
    from components.platform.launcher.reaping import reap

    return reap(recipe.platform.launcher.pytorchjob.namespace, is_alive)
