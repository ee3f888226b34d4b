"""What tells one kind of cluster job from another; everything else the launcher does alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from components.platform.launcher import pytorchjob_spec, trainjob_spec
from components.platform.launcher.identity import Submitter
from components.platform.launcher.job import JobSpec
from components.platform.launcher.settings import LauncherSettings


@dataclass(frozen=True)
class JobKind:
    """A kind of distributed job that an operator on the cluster runs.

    Attributes:
        name: as in `kind: PyTorchJob`.
        succeeded: type of the condition of a job that ended well.
        failed: and of one that didn't.
        job_label: label by which pods tell their job's name.
        container: name of the container that runs the ranks.
        node_rank: number of a pod's node, from the labels of the pod.
        expires: whether the operator removes a job some time after its end.
        translate: from a job to the object on the cluster.
    """

    name: str
    group: str
    version: str
    plural: str
    succeeded: str
    failed: str
    job_label: str
    container: str
    node_rank: Callable[[Mapping[str, str]], int]
    expires: bool
    translate: Callable[[JobSpec, LauncherSettings, Submitter], dict[str, Any]]


def _pytorchjob_node(labels: Mapping[str, str]) -> int:
    """The master is node 0, worker 0 is node 1."""
    if labels.get("training.kubeflow.org/replica-type", "").lower() == "master":
        return 0
    return int(labels.get("training.kubeflow.org/replica-index", "0")) + 1


PYTORCHJOB = JobKind(
    name="PyTorchJob",
    group=pytorchjob_spec.GROUP,
    version=pytorchjob_spec.VERSION,
    plural=pytorchjob_spec.PLURAL,
    succeeded="Succeeded",
    failed="Failed",
    job_label="training.kubeflow.org/job-name",
    container="pytorch",
    node_rank=_pytorchjob_node,
    expires=True,
    translate=pytorchjob_spec.to_pytorchjob,
)

TRAINJOB = JobKind(
    name="TrainJob",
    group=trainjob_spec.GROUP,
    version=trainjob_spec.VERSION,
    plural=trainjob_spec.PLURAL,
    succeeded="Complete",
    failed="Failed",
    job_label="jobset.sigs.k8s.io/jobset-name",  # the job set is called as its TrainJob
    container=trainjob_spec.NODE,
    node_rank=lambda labels: int(labels.get("batch.kubernetes.io/job-completion-index", "0")),
    expires=False,
    translate=trainjob_spec.to_trainjob,
)

KINDS = {"pytorchjob": PYTORCHJOB, "trainjob": TRAINJOB}
"""By `launcher.kind`."""
