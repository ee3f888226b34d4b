"""What the checks look at: a recipe, and the servers that it names, each connected to once it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from components.platform.errors import UserError
from components.platform.launcher.settings import PyTorchJobSettings
from pipelines.kfp_server import KfpServer
from pipelines.recipe import Recipe

if TYPE_CHECKING:
    from components.platform.kubernetes_reader import KubernetesReader


class DoubtError(UserError):
    """Not wrong enough to stop: shown as a warning."""


@dataclass(frozen=True)
class Site:
    """A recipe and its surroundings."""

    recipe: Recipe

    @cached_property
    def kfp(self) -> KfpServer:
        return KfpServer(self.recipe.cluster.kubeflow)

    @cached_property
    def kubernetes(self) -> KubernetesReader:
        from components.platform.kubernetes_reader import KubernetesReader

        return KubernetesReader()

    @property
    def namespace(self) -> str:
        """Where the pods of the steps run."""
        return self.recipe.cluster.kubeflow.namespace

    @property
    def pods(self) -> PyTorchJobSettings | None:
        """The pods of the training jobs; None for a recipe whose ranks are processes of a step."""
        launcher = self.recipe.platform.launcher
        return None if launcher.kind == "torchrun" else launcher.pytorchjob
