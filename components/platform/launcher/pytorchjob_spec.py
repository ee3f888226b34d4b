"""A job as a Kubeflow PyTorchJob: a pure translation, without a cluster."""

from __future__ import annotations

from typing import Any

from components.platform.launcher import pod_spec
from components.platform.launcher.identity import BY_HAND, Submitter, metadata, pod_labels
from components.platform.launcher.job import JobSpec
from components.platform.launcher.settings import LauncherSettings

GROUP, VERSION, PLURAL = "kubeflow.org", "v1", "pytorchjobs"


def to_pytorchjob(job: JobSpec, settings: LauncherSettings, submitter: Submitter = BY_HAND) -> dict[str, Any]:
    """The PyTorchJob that runs `job`, one pod per node.

    Its name is made from the run, the task and everything in the spec: a launcher that is started again for the same
    work finds the job it had submitted.
    """
    pods = settings.pytorchjob
    template = _template(job, settings, submitter)
    replicas = {"Master": _replica(template, 1)}
    if job.nnodes > 1:
        replicas["Worker"] = _replica(template, job.nnodes - 1)
    policy = {
        "cleanPodPolicy": "Running",  # the operator's default leaves workers holding their GPUs
        "backoffLimit": pods.backoff_limit,
        "ttlSecondsAfterFinished": pods.keep_finished_seconds,
        # The operator counts from submission. We watch queue and running time apart; this ends a job whose
        # launcher is gone.
        "activeDeadlineSeconds": pods.pending_timeout_seconds + settings.timeout_seconds,
    }
    if pods.gang_scheduling:  # the operator makes the pod group and names the scheduler
        policy["schedulingPolicy"] = {"minAvailable": job.nnodes}
        if pods.priority_class is not None:
            policy["schedulingPolicy"]["priorityClass"] = pods.priority_class
    labels = {}
    if pods.queue is not None:
        policy["suspend"] = True  # until Kueue admits it
        labels["kueue.x-k8s.io/queue-name"] = pods.queue
    spec = {"nprocPerNode": str(job.nproc_per_node), "pytorchReplicaSpecs": replicas, "runPolicy": policy}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "PyTorchJob",
        "metadata": metadata(job.name, spec, submitter, pods.namespace, labels),
        "spec": spec,
    }


def _replica(template: dict[str, Any], count: int) -> dict[str, Any]:
    # "ExitCode": again when a pod was killed or lost (128-255), not when the code failed
    return {"replicas": count, "restartPolicy": "ExitCode", "template": template}


def _template(job: JobSpec, settings: LauncherSettings, submitter: Submitter) -> dict[str, Any]:
    pods, labels = settings.pytorchjob, pod_labels(job.name, submitter)
    container = {
        "name": "pytorch",  # the operator looks for this name
        "image": pods.image,
        "command": pod_spec.command(job),
        "env": pod_spec.environment(job, settings),
        "envFrom": [{"secretRef": {"name": name}} for name in pods.secret_env],
        "resources": pod_spec.resources(pods),
        "securityContext": pod_spec.container_security(pods),
        "volumeMounts": pod_spec.volume_mounts(pods),
    }
    pod = {
        "containers": [container],
        "volumes": pod_spec.volumes(pods),
        "nodeSelector": pods.node_selector,
        "tolerations": list(pods.tolerations),
        "affinity": pod_spec.affinity(pods, labels),
        "topologySpreadConstraints": pod_spec.spread(labels),
        "securityContext": pod_spec.pod_security(pods),
        "automountServiceAccountToken": False,  # ranks call no API
        "enableServiceLinks": False,  # MLFLOW_PORT=tcp://... would be taken for a setting
        "terminationGracePeriodSeconds": round(settings.grace_seconds) + pod_spec.KILL_MARGIN_SECONDS,
    }
    if pods.service_account is not None:
        pod["serviceAccountName"] = pods.service_account
    if pods.priority_class is not None:
        pod["priorityClassName"] = pods.priority_class
    return {"metadata": {"labels": labels, "annotations": pod_spec.ANNOTATIONS | pods.annotations}, "spec": pod}
