"""Where each step of the DAG lands on a cluster: image, resources, node pool, secrets.

A local run ignores it, but for the images if it runs the steps in containers.
"""

from __future__ import annotations

from typing import Literal

from kfp import kubernetes
from kfp.dsl import PipelineTask
from pydantic import Field

from components.platform.settings import Settings


class StepPlacement(Settings):
    """Image and resources of one step."""

    image: str | None = Field(default=None, description="container image; pin it by digest")
    cpu: str | None = Field(default=None, description="CPU limit, such as '8'")
    memory: str | None = Field(default=None, description="memory limit, such as '64Gi'")
    gpus: int = Field(default=0, ge=0, description="number of GPUs of this step itself")
    node_selector: dict[str, str] = Field(default={}, description="labels of the nodes it may run on")
    tolerate: list[str] = Field(default=[], description="taint keys it tolerates (effect NoSchedule)")


class KubeflowSettings(Settings):
    """The Kubeflow Pipelines server that runs are submitted to. Credentials come from the environment."""

    host: str | None = Field(
        default=None, description="address of its API; default: $KF_PIPELINES_ENDPOINT, else that of the cluster"
    )
    namespace: str = Field(
        default="meditron", description="where the pods of the steps run; your profile's in a multi-user Kubeflow"
    )
    experiment: str = Field(default="meditron", description="KFP experiment of the runs")
    service_account: str | None = Field(default=None, description="of the steps; default: KFP's pipeline-runner")
    pipeline_root: str | None = Field(
        default=None, description="where KFP keeps its own (small) artifacts; default: what the server is set up for"
    )


class ClusterSettings(Settings):
    """Placement of the steps, by step name, and the secrets all of them get as environment variables."""

    kubeflow: KubeflowSettings = KubeflowSettings()
    default: StepPlacement = StepPlacement()
    steps: dict[str, StepPlacement] = Field(default={}, description="placement of single steps, instead of the default")
    corpus_tasks: int = Field(default=1, ge=1, description="pods that work side by side on the shards of the corpus")
    secrets: dict[str, dict[str, str]] = Field(
        default={}, description="Kubernetes secret name → {key in the secret: environment variable}"
    )
    volume_claims: dict[str, str] = Field(
        default={}, description="mount path → name of the claim; the workspace that steps and ranks share, say"
    )
    env: dict[str, str] = Field(default={}, description="environment variables of all steps")
    retries: int = Field(default=2, ge=0, description="how often a failed step is started again; it resumes")
    runner: Literal["processes", "docker"] = Field(
        default="processes",
        description="how `meditron run` starts steps on this machine: as processes, or as containers of their images",
    )


def place(task: PipelineTask, cluster: ClusterSettings) -> PipelineTask:
    """Put one task of the DAG where the recipe wants it."""
    placement = cluster.steps.get(task.name, cluster.default)
    if placement.image:
        task.set_container_image(placement.image)
    if placement.cpu:
        task.set_cpu_limit(placement.cpu)
    if placement.memory:
        task.set_memory_limit(placement.memory)
    if placement.gpus:
        task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(placement.gpus)
    for key, value in placement.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for key in placement.tolerate:
        kubernetes.add_toleration(task, key=key, operator="Exists", effect="NoSchedule")
    for secret, variables in cluster.secrets.items():
        kubernetes.use_secret_as_env(task, secret, variables)
    for path, claim in cluster.volume_claims.items():
        kubernetes.mount_pvc(task, claim, path)
    for name, value in cluster.env.items():
        task.set_env_variable(name, value)
    if cluster.retries:
        task.set_retry(cluster.retries)
    # KFP's cache looks at parameters alone: it would take a step that lists source files for done although there are
    # new ones. A step finds its finished result by content; MLflow then knows of it in this run, too.
    task.set_caching_options(False)
    # As a parameter the run's id would make every submission another pipeline.
    kubernetes.use_field_path_as_env(task, "KFP_RUN_ID", "metadata.labels['pipeline/runid']")
    return task
