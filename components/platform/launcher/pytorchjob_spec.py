"""A job as a Kubeflow PyTorchJob: a pure translation, without a cluster."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.platform.launcher.job import JobSpec
from components.platform.launcher.settings import LauncherSettings, PyTorchJobSettings

GROUP, VERSION, PLURAL = "kubeflow.org", "v1", "pytorchjobs"
HASH_LABEL, RUN_LABEL = "meditron-spec-hash", "meditron-run"
KILL_MARGIN_SECONDS = 15  # between torchrun's SIGKILL to its ranks and the kubelet's to torchrun


@dataclass(frozen=True)
class Submitter:
    """Who starts the job: the pipeline run, and the pod of the pipeline step where it is known.

    The job belongs to that pod: when Kubernetes removes the pod, it removes the job.
    """

    run_id: str = "by-hand"
    pod_name: str | None = None
    pod_uid: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Submitter:
        """KFP tells each step its pod; the DAG maps the run's id into KFP_RUN_ID."""
        return cls(
            environment.get("KFP_RUN_ID", cls.run_id), environment.get("KFP_POD_NAME"), environment.get("KFP_POD_UID")
        )

    def owner_references(self) -> list[dict[str, Any]]:
        if self.pod_name is None or self.pod_uid is None:
            return []
        return [{"apiVersion": "v1", "kind": "Pod", "name": self.pod_name, "uid": self.pod_uid}]


def to_pytorchjob(job: JobSpec, settings: LauncherSettings, submitter: Submitter = Submitter()) -> dict[str, Any]:
    """The PyTorchJob that runs `job`, one pod per node.

    Its name is made from the run, the task and everything in the spec: a launcher that is started again for the same
    work finds the job it had submitted.
    """
    pods = settings.pytorchjob
    replicas = {"Master": _replica(job, settings, pods, 1)}
    if job.nnodes > 1:
        replicas["Worker"] = _replica(job, settings, pods, job.nnodes - 1)
    spec = {
        "nprocPerNode": str(job.nproc_per_node),
        "pytorchReplicaSpecs": replicas,
        "runPolicy": {
            "cleanPodPolicy": "Running",  # the operator's default leaves workers holding their GPUs
            "backoffLimit": pods.backoff_limit,
            "ttlSecondsAfterFinished": pods.keep_finished_seconds,
            # The operator counts from submission. We watch queue and running time apart; this ends a job whose
            # launcher is gone.
            "activeDeadlineSeconds": pods.pending_timeout_seconds + settings.timeout_seconds,
        },
    }
    labels = {RUN_LABEL: submitter.run_id}
    if pods.queue is not None:
        spec["runPolicy"]["suspend"] = True  # until Kueue admits it
        labels["kueue.x-k8s.io/queue-name"] = pods.queue
    digest = hashlib.sha256(json.dumps([submitter.run_id, job.name, spec], sort_keys=True).encode()).hexdigest()[:16]
    metadata = {"name": _name(job.name, digest), "namespace": pods.namespace, "labels": labels | {HASH_LABEL: digest}}
    if owners := submitter.owner_references():
        metadata["ownerReferences"] = owners
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "PyTorchJob", "metadata": metadata, "spec": spec}


def _name(task: str, digest: str) -> str:
    """A DNS-1035 label, short enough for the suffixes of its pods (-worker-127)."""
    return f"meditron-{re.sub('[^a-z0-9]+', '-', task.lower()).strip('-')[:24]}-{digest[:10]}"


def _replica(job: JobSpec, settings: LauncherSettings, pods: PyTorchJobSettings, count: int) -> dict[str, Any]:
    pod = {
        "containers": [_container(job, settings, pods)],
        "volumes": [
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": pods.shm_size}},
            *(
                {"name": f"claim-{index}", "persistentVolumeClaim": {"claimName": claim}}
                for index, claim in enumerate(pods.volume_claims.values())
            ),
        ],
        "nodeSelector": pods.node_selector,
        "tolerations": list(pods.tolerations),
        "terminationGracePeriodSeconds": round(settings.grace_seconds) + KILL_MARGIN_SECONDS,
    }
    if pods.service_account is not None:
        pod["serviceAccountName"] = pods.service_account
    return {
        "replicas": count,
        "restartPolicy": "ExitCode",  # again when a pod was killed or lost (128-255), not when the code failed
        # A sidecar would keep the pod alive when its ranks are done.
        "template": {"metadata": {"annotations": {"sidecar.istio.io/inject": "false"}}, "spec": pod},
    }


def _container(job: JobSpec, settings: LauncherSettings, pods: PyTorchJobSettings) -> dict[str, Any]:
    # The operator tells torchrun about nodes and rendezvous through PET_* variables, so it needs no flags.
    grace = {"PET_SHUTDOWN_TIMEOUT": str(max(1, round(settings.grace_seconds)))}
    environment = {"OMP_NUM_THREADS": "1"} | pods.env | dict(job.env) | grace
    resources = dict(pods.resources)
    if pods.gpus_per_node:
        resources["nvidia.com/gpu"] = str(pods.gpus_per_node)
    if pods.rdma_resource is not None:
        resources[pods.rdma_resource] = str(pods.rdma_devices)
    return {
        "name": "pytorch",  # the operator looks for this name
        "image": pods.image,
        "command": ["torchrun", "-m", "components.platform.launcher.rank", job.module, *job.args],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "envFrom": [{"secretRef": {"name": name}} for name in pods.secret_env],
        "resources": {"limits": resources, "requests": resources},
        "securityContext": {"capabilities": {"add": ["IPC_LOCK"]}},  # RDMA pins memory
        "volumeMounts": [
            {"name": "shm", "mountPath": "/dev/shm"},
            *({"name": f"claim-{index}", "mountPath": path} for index, path in enumerate(pods.volume_claims)),
        ],
    }
