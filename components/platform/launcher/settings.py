"""How distributed jobs are started: processes on this machine, or a PyTorchJob on a cluster."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from components.platform.settings import Settings

OF_THE_RUNTIME = ("secret_env", "priority_class", "gang_scheduling")
"""What only the training runtime of a TrainJob can say."""


class PyTorchJobSettings(Settings):
    """The pods of a Kubeflow PyTorchJob (or TrainJob): one per node, each holding all GPUs of its node."""

    namespace: str = Field(description="Kubernetes namespace of the job")
    image: str = Field(description="training image, best pinned by digest")
    gpus_per_node: int = Field(default=8, ge=0, description="nvidia.com/gpu per pod; 0 for a job on CPUs")
    service_account: str | None = Field(default=None, description="service account of the pods")
    node_selector: dict[str, str] = Field(default={}, description="labels a node must have, e.g. the GPU product")
    tolerations: tuple[dict[str, Any], ...] = Field(default=(), description="Kubernetes tolerations of the pool")
    resources: dict[str, str] = Field(default={}, description="further requests = limits: cpu, memory, ...")
    rdma_resource: str | None = Field(default=None, description="name of the RDMA device resource, e.g. rdma/hca_a")
    rdma_devices: PositiveInt = Field(default=1, description="RDMA devices per pod, when rdma_resource is set")
    shm_size: str = Field(default="64Gi", description="memory-backed /dev/shm, for NCCL and data loaders")
    env: dict[str, str] = Field(default={}, description="environment of the ranks, e.g. NCCL_IB_GID_INDEX")
    network_block: str | None = Field(
        default=None, description="node label whose nodes are close in the network; pods prefer to share its value"
    )
    annotations: dict[str, str] = Field(
        default={}, description="annotations of the pods, e.g. k8s.v1.cni.cncf.io/networks for RoCE interfaces"
    )
    priority_class: str | None = Field(default=None, description="Kubernetes priority class of the pods")
    gang_scheduling: bool = Field(
        default=False, description="all pods or none; the training operator must run with --gang-scheduler-name"
    )
    run_as_user: PositiveInt = Field(default=1000, description="numeric user and group of the ranks, never root")
    secret_env: tuple[str, ...] = Field(default=(), description="secrets whose keys become environment variables")
    volume_claims: dict[str, str] = Field(default={}, description="mount path: name of the claim, e.g. the workspace")
    queue: str | None = Field(default=None, description="Kueue local queue; the job then starts suspended")
    backoff_limit: int = Field(
        default=3,
        ge=0,
        description="times the job may start again after pods died of exit codes 128-255 (killed, lost)",
    )
    keep_finished_seconds: PositiveInt = Field(default=86400, description="time a finished job stays to be looked at")
    pending_timeout_seconds: PositiveInt = Field(
        default=24 * 3600, description="longest time in the queue, until all pods run"
    )
    start_error_grace_seconds: PositiveFloat = Field(
        default=300, description="longest time a pod may fail to start, e.g. to pull its image, before we give up"
    )
    poll_seconds: PositiveFloat = Field(
        default=5, description="longest time between two looks at the job, and before trying again what failed"
    )


class TrainJobSettings(Settings):
    """The training runtime that a TrainJob starts from (Trainer 2.2 or newer; experimental)."""

    runtime: str = Field(default="torch-distributed", description="name of the training runtime")
    runtime_kind: Literal["ClusterTrainingRuntime", "TrainingRuntime"] = Field(
        default="ClusterTrainingRuntime", description="whether it belongs to the cluster or to the namespace"
    )


class LauncherSettings(Settings):
    """Where ranks run and for how long."""

    kind: Literal["torchrun", "pytorchjob", "trainjob"] = Field(
        default="torchrun",
        description="torchrun: processes of this machine; pytorchjob: pods of a cluster; trainjob: experimental",
    )
    timeout_seconds: PositiveInt = Field(default=14 * 24 * 3600, description="longest running time of one job")
    exit_duration_minutes: PositiveFloat | None = Field(
        default=None, description="after so long a training job saves and leaves, to go on when it is started again"
    )
    grace_seconds: PositiveFloat = Field(
        default=60, description="time the ranks have for a checkpoint between SIGTERM and SIGKILL"
    )
    min_bus_bandwidth_gb_per_second: PositiveFloat | None = Field(
        default=None,
        description="all-reduce bus bandwidth (1e9 bytes/s) that a job of several nodes is started with; "
        "a short job on the same pods measures it first",
    )
    pytorchjob: PyTorchJobSettings | None = Field(
        default=None, description="the pods, when kind is pytorchjob or trainjob"
    )
    trainjob: TrainJobSettings = Field(default=TrainJobSettings(), description="used when kind is trainjob")

    @model_validator(mode="after")
    def _pods_are_described(self) -> LauncherSettings:
        if self.kind != "torchrun" and self.pytorchjob is None:
            raise ValueError(
                f"kind is {self.kind}: add a section `pytorchjob:`, the pods, with at least namespace and image"
            )
        return self

    @model_validator(mode="after")
    def _a_trainjob_can_say_so(self) -> LauncherSettings:
        if self.kind == "trainjob":
            for field in OF_THE_RUNTIME:
                if getattr(self.pytorchjob, field):
                    raise ValueError(
                        f"kind is trainjob: pytorchjob.{field} can't be said in a TrainJob; leave it out, and say it "
                        f"in the training runtime {self.trainjob.runtime}"
                    )
        return self
