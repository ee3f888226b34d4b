"""TrainJobs as the launcher writes them, field by field: their schema is not at hand."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from components.platform.launcher import JobSpec
from components.platform.launcher.identity import Submitter
from components.platform.launcher.settings import LauncherSettings
from components.platform.launcher.trainjob_spec import to_trainjob

JOB = JobSpec("pretrain", "components.training.worker", ("--job", "job.json"), nproc_per_node=8, nnodes=16)

# Fields of trainer.kubeflow.org/v1alpha1 since Trainer 2.2, from pkg/apis/trainer/v1alpha1/trainjob_types.go
TRAINER = {"image", "command", "args", "env", "numNodes", "resourcesPerNode", "numProcPerNode"}
POD_PATCH = {
    *("serviceAccountName", "volumes", "initContainers", "containers", "imagePullSecrets", "securityContext"),
    *("nodeSelector", "affinity", "tolerations", "schedulingGates"),
}
CONTAINER_PATCH = {"name", "volumeMounts", "securityContext"}  # `env` is refused for the container `node`
RESERVED = {"PET_NNODES", "PET_NPROC_PER_NODE", "PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT"}


def settings(**pods: Any) -> LauncherSettings:
    described = {"namespace": "meditron", "image": "i"} | pods
    return LauncherSettings.model_validate({"kind": "trainjob", "timeout_seconds": 1000, "pytorchjob": described})


@pytest.fixture
def body() -> dict[str, Any]:
    pods = {
        "service_account": "trainer",
        "node_selector": {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "rdma_resource": "rdma/hca",
        "volume_claims": {"/workspace": "meditron-workspace"},
        "network_block": "topology.site/block",
        "annotations": {"a": "b"},
        "queue": "a100",
        "pending_timeout_seconds": 500,
    }
    return to_trainjob(JOB, settings(**pods), Submitter("run", "pod", "uid"))


def test_job(body: dict[str, Any]) -> None:
    assert (body["apiVersion"], body["kind"]) == ("trainer.kubeflow.org/v1alpha1", "TrainJob")
    assert body["metadata"]["ownerReferences"][0]["uid"] == "uid"
    assert body["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "a100"
    spec = body["spec"]
    assert spec.keys() == {"runtimeRef", "trainer", "runtimePatches", "suspend", "activeDeadlineSeconds"}
    assert spec["suspend"] is True
    assert spec["activeDeadlineSeconds"] == 1500
    assert spec["runtimeRef"] == {
        "apiGroup": "trainer.kubeflow.org",
        "kind": "ClusterTrainingRuntime",
        "name": "torch-distributed",
    }


def test_trainer(body: dict[str, Any]) -> None:
    trainer = body["spec"]["trainer"]
    assert trainer.keys() <= TRAINER
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (16, 8)
    assert trainer["command"][-3:] == ["components.training.worker", "--job", "job.json"]
    assert trainer["resourcesPerNode"]["limits"] == {"nvidia.com/gpu": "8", "rdma/hca": "1"}
    assert not RESERVED & {entry["name"] for entry in trainer["env"]}


def test_patch_has_only_what_may_be_patched(body: dict[str, Any]) -> None:
    (patch,) = body["spec"]["runtimePatches"]
    assert patch.keys() == {"manager", "trainingRuntimeSpec"}
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    assert job["name"] == "node"
    template = job["template"]["spec"]["template"]
    assert template["metadata"].keys() == {"labels", "annotations"}
    assert template["metadata"]["annotations"]["a"] == "b"
    pod = template["spec"]
    assert pod.keys() <= POD_PATCH
    (container,) = pod["containers"]
    assert container.keys() <= CONTAINER_PATCH
    assert container["name"] == "node"
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/dev/shm", "/workspace"}
    assert pod["securityContext"]["runAsNonRoot"] is True


@pytest.mark.parametrize(
    ("field", "value"), [("secret_env", ["s3"]), ("priority_class", "training"), ("gang_scheduling", True)]
)
def test_what_only_the_runtime_can_say(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=f"pytorchjob.{field} can't be said in a TrainJob.*torch-distributed"):
        settings(**{field: value})
