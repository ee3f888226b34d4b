"""PyTorchJobs as the launcher writes them, against the operator's own schema."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from components.platform.launcher import JobSpec
from components.platform.launcher.pytorchjob_spec import Submitter, to_pytorchjob
from components.platform.launcher.settings import LauncherSettings

JOB = JobSpec(
    "pretrain", "components.training.worker", ("--job", "job.json"), nproc_per_node=8, nnodes=16, env={"SEED": "1"}
)
SETTINGS = LauncherSettings.model_validate(
    {
        "kind": "pytorchjob",
        "timeout_seconds": 1000,
        "pytorchjob": {
            "namespace": "meditron",
            "image": "registry/train@sha256:0",
            "node_selector": {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "resources": {"cpu": "90", "memory": "1000Gi"},
            "rdma_resource": "rdma/hca_shared_devices_a",
            "env": {"NCCL_IB_GID_INDEX": "3"},
            "secret_env": ["s3-credentials"],
            "volume_claims": {"/workspace": "meditron-workspace"},
            "queue": "a100",
            "service_account": "trainer",
            "pending_timeout_seconds": 500,
        },
    }
)


def strict(schema: Any) -> Any:
    """The schema with unknown fields forbidden, as the API server's strict field validation does."""
    if isinstance(schema, dict):
        result = {key: strict(value) for key, value in schema.items()}
        if "properties" in result and "additionalProperties" not in result:
            result["additionalProperties"] = False
        return result
    return [strict(item) for item in schema] if isinstance(schema, list) else schema


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    facts = Path(os.environ.get("MEDITRON_FACTS", Path(__file__).parents[3] / "shared" / "facts"))
    path = facts / "crds" / "pytorchjob.v1.schema.json"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    schema = strict(json.loads(path.read_text()))
    schema["properties"]["metadata"] = {"type": "object"}  # checked by the API server itself
    return schema


@pytest.mark.parametrize("nodes", [1, 16])
def test_operator_accepts_it(schema: dict[str, Any], nodes: int) -> None:
    import jsonschema

    job = JobSpec(JOB.name, JOB.module, JOB.args, JOB.nproc_per_node, nodes)
    body = to_pytorchjob(job, SETTINGS, Submitter("run", "pod", "uid"))
    jsonschema.validate(body, schema)
    replicas = body["spec"]["pytorchReplicaSpecs"]
    assert sum(replica["replicas"] for replica in replicas.values()) == nodes
    assert replicas["Master"]["replicas"] == 1


def test_pod() -> None:
    body = to_pytorchjob(JOB, SETTINGS)
    policy = body["spec"]["runPolicy"]
    assert policy["cleanPodPolicy"] == "Running"
    assert policy["activeDeadlineSeconds"] == 1500
    assert policy["suspend"] is True
    assert body["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "a100"

    pod = body["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["name"] == "pytorch"
    assert container["command"][:2] == ["torchrun", "-m"]  # no flags: the operator sets PET_*
    assert container["command"][-3:] == ["components.training.worker", "--job", "job.json"]
    limits = {"cpu": "90", "memory": "1000Gi", "nvidia.com/gpu": "8", "rdma/hca_shared_devices_a": "1"}
    assert container["resources"] == {"limits": limits, "requests": limits}
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment == {
        "OMP_NUM_THREADS": "1",
        "NCCL_IB_GID_INDEX": "3",
        "SEED": "1",
        "PET_SHUTDOWN_TIMEOUT": "60",
    }
    assert container["securityContext"]["capabilities"]["add"] == ["IPC_LOCK"]
    assert pod["volumes"][0]["emptyDir"] == {"medium": "Memory", "sizeLimit": "64Gi"}
    assert {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]} == {
        "shm": "/dev/shm",
        "claim-0": "/workspace",
    }
    assert pod["terminationGracePeriodSeconds"] > 60
    assert pod["nodeSelector"]
    assert pod["tolerations"]


def test_name_is_the_same_for_the_same_work_and_only_then() -> None:
    def name(job: JobSpec = JOB, **submitter: str) -> str:
        return to_pytorchjob(job, SETTINGS, Submitter(**submitter))["metadata"]["name"]

    other = JobSpec("Pre_Train (70B)", JOB.module, ("--job", "other.json"), 8, 16)
    assert name() == name(pod_name="a", pod_uid="b")  # a restarted launcher has another pod
    assert len({name(), name(other), name(run_id="another-run")}) == 3
    assert all(re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", n) and len(n) < 50 for n in (name(), name(other)))


def test_job_belongs_to_the_pod_that_submitted_it() -> None:
    assert "ownerReferences" not in to_pytorchjob(JOB, SETTINGS)["metadata"]
    submitter = Submitter.from_environment({"KFP_RUN_ID": "r", "KFP_POD_NAME": "step", "KFP_POD_UID": "u"})
    owner = to_pytorchjob(JOB, SETTINGS, submitter)["metadata"]["ownerReferences"]
    assert owner == [{"apiVersion": "v1", "kind": "Pod", "name": "step", "uid": "u"}]


def test_pods_must_be_described() -> None:
    with pytest.raises(ValidationError, match="add a section `pytorchjob:`"):
        LauncherSettings(kind="pytorchjob")
