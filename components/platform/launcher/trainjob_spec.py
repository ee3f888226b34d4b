"""A job as a Kubeflow TrainJob (Trainer 2.2 or newer): a pure translation. Experimental: no live cluster has run one.

A TrainJob says little itself: it refers to a training runtime of the cluster and patches what a runtime lets it
patch. API: trainer.kubeflow.org/v1alpha1, `RuntimePatch`, `PodSpecPatch` and `ContainerPatch`.
"""

from __future__ import annotations

from typing import Any

from components.platform.launcher import pod_spec
from components.platform.launcher.identity import BY_HAND, Submitter, metadata, pod_labels
from components.platform.launcher.job import JobSpec
from components.platform.launcher.settings import LauncherSettings

GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
NODE = "node"  # the runtime's replicated job, and its container
MANAGER = "meditron-pipelines/launcher"  # owner of the patch


def to_trainjob(job: JobSpec, settings: LauncherSettings, submitter: Submitter = BY_HAND) -> dict[str, Any]:
    """The TrainJob that runs `job`, named as its PyTorchJob would be."""
    pods = settings.pytorchjob
    spec: dict[str, Any] = {
        "runtimeRef": {
            "apiGroup": GROUP,
            "kind": settings.trainjob.runtime_kind,
            "name": settings.trainjob.runtime,
        },
        "trainer": {
            "image": pods.image,
            "command": pod_spec.command(job),
            "env": pod_spec.environment(job, settings),
            "numNodes": job.nnodes,
            "numProcPerNode": job.nproc_per_node,
            "resourcesPerNode": pod_spec.resources(pods),
        },
        "runtimePatches": [{"manager": MANAGER, "trainingRuntimeSpec": _patch(job, settings, submitter)}],
        # Counted from the start, and anew after a suspension
        "activeDeadlineSeconds": pods.pending_timeout_seconds + settings.timeout_seconds,
    }
    labels = {}
    if pods.queue is not None:
        spec["suspend"] = True  # until Kueue admits it
        labels["kueue.x-k8s.io/queue-name"] = pods.queue
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "TrainJob",
        "metadata": metadata(job.name, spec, submitter, pods.namespace, labels),
        "spec": spec,
    }


def _patch(job: JobSpec, settings: LauncherSettings, submitter: Submitter) -> dict[str, Any]:
    pods, labels = settings.pytorchjob, pod_labels(job.name, submitter)
    pod: dict[str, Any] = {
        "containers": [
            {
                "name": NODE,
                "volumeMounts": pod_spec.volume_mounts(pods),
                "securityContext": pod_spec.container_security(pods),
            }
        ],
        "volumes": pod_spec.volumes(pods),
        "nodeSelector": pods.node_selector,
        "tolerations": list(pods.tolerations),
        "affinity": pod_spec.affinity(pods, labels),
        "securityContext": pod_spec.pod_security(pods),
    }
    if pods.service_account is not None:
        pod["serviceAccountName"] = pods.service_account
    annotations = pod_spec.ANNOTATIONS | pods.annotations
    template = {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod}
    replicated = {"name": NODE, "template": {"spec": {"template": template}}}
    return {"template": {"spec": {"replicatedJobs": [replicated]}}}
