"""The pod of one node, as PyTorchJobs and TrainJobs have it in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.platform.launcher.job import JobSpec
from components.platform.launcher.settings import LauncherSettings, PyTorchJobSettings

KILL_MARGIN_SECONDS = 15  # between torchrun's SIGKILL to its ranks and the kubelet's to torchrun
HOSTNAME = "kubernetes.io/hostname"

# A sidecar would keep the pod alive when its ranks are done.
ANNOTATIONS = {"sidecar.istio.io/inject": "false"}


def command(job: JobSpec) -> list[str]:
    """torchrun without flags: the operator tells it about nodes and rendezvous through PET_* variables."""
    return ["python", "-m", "components.platform.launcher.node", job.module, *job.args]


def environment(job: JobSpec, settings: LauncherSettings) -> list[dict[str, str]]:
    grace = {"PET_SHUTDOWN_TIMEOUT": str(max(1, round(settings.grace_seconds)))}
    variables = {"OMP_NUM_THREADS": "1"} | settings.pytorchjob.env | dict(job.env) | grace
    return [{"name": name, "value": value} for name, value in variables.items()]


def resources(pods: PyTorchJobSettings) -> dict[str, Any]:
    quantities = dict(pods.resources)
    if pods.gpus_per_node:
        quantities["nvidia.com/gpu"] = str(pods.gpus_per_node)
    if pods.rdma_resource is not None:
        quantities[pods.rdma_resource] = str(pods.rdma_devices)
    return {"limits": quantities, "requests": quantities}


def container_security(pods: PyTorchJobSettings) -> dict[str, Any]:
    capabilities = {"drop": ["ALL"]}
    if pods.rdma_resource is not None:
        capabilities["add"] = ["IPC_LOCK"]  # RDMA pins memory
    return {"allowPrivilegeEscalation": False, "capabilities": capabilities}


def pod_security(pods: PyTorchJobSettings) -> dict[str, Any]:
    return {
        "runAsNonRoot": True,
        "runAsUser": pods.run_as_user,
        # Volumes are writable for the group; a claim that is so already is not gone through file by file again
        "fsGroup": pods.run_as_user,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def volumes(pods: PyTorchJobSettings) -> list[dict[str, Any]]:
    return [
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": pods.shm_size}},
        *(
            {"name": f"claim-{index}", "persistentVolumeClaim": {"claimName": claim}}
            for index, claim in enumerate(pods.volume_claims.values())
        ),
    ]


def volume_mounts(pods: PyTorchJobSettings) -> list[dict[str, str]]:
    return [
        {"name": "shm", "mountPath": "/dev/shm"},
        *({"name": f"claim-{index}", "mountPath": path} for index, path in enumerate(pods.volume_claims)),
    ]


def affinity(pods: PyTorchJobSettings, labels: Mapping[str, str]) -> dict[str, Any]:
    """Pods draw one another into one network block; where none has enough free nodes, they start all the same."""
    if pods.network_block is None:
        return {}
    term = {"topologyKey": pods.network_block, "labelSelector": {"matchLabels": dict(labels)}}
    preferred = [{"weight": 100, "podAffinityTerm": term}]
    return {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


def spread(labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """One pod per node, also where a pod doesn't fill its node."""
    constraint = {"topologyKey": HOSTNAME, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    return [constraint | {"labelSelector": {"matchLabels": dict(labels)}}]
