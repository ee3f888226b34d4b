"""Who a job on the cluster belongs to, and its name: the same for the same work, however often it is submitted."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HASH_LABEL, RUN_LABEL, TASK_LABEL = "meditron-spec-hash", "meditron-run", "meditron-task"


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


BY_HAND = Submitter()


def pod_labels(task: str, submitter: Submitter) -> dict[str, str]:
    """What all pods of a job have in common, and no other job's: the operator's own labels hold the job's name,
    which depends on all that is in its pods."""
    return {RUN_LABEL: submitter.run_id, TASK_LABEL: _label(task)}


def metadata(
    task: str, spec: Mapping[str, Any], submitter: Submitter, namespace: str, labels: Mapping[str, str]
) -> dict[str, Any]:
    """Metadata of a job whose name is made from the run, the task and everything in the spec."""
    digest = hashlib.sha256(json.dumps([submitter.run_id, task, spec], sort_keys=True).encode()).hexdigest()[:16]
    result = {
        # A DNS-1035 label, short enough for the suffixes of its pods (-worker-127)
        "name": f"meditron-{_label(task)}-{digest[:10]}",
        "namespace": namespace,
        "labels": {RUN_LABEL: submitter.run_id, HASH_LABEL: digest, **labels},
    }
    if owners := submitter.owner_references():
        result["ownerReferences"] = owners
    return result


def _label(task: str) -> str:
    return re.sub("[^a-z0-9]+", "-", task.lower())[:24].strip("-")
