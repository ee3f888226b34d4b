"""PyTorchJobs as the launcher writes them, against the operator's own schema."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from components.platform.launcher import JobSpec
from components.platform.launcher.identity import RUN_LABEL, TASK_LABEL, Submitter
from components.platform.launcher.pytorchjob_spec import to_pytorchjob
from components.platform.launcher.settings import LauncherSettings
from pipelines.recipe import load_recipe

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
            "network_block": "topology.site/block",
            "annotations": {"k8s.v1.cni.cncf.io/networks": "roce-0"},
            "priority_class": "training",
            "gang_scheduling": True,
            "run_as_user": 4242,
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


def replicas(body: dict[str, Any]) -> dict[str, Any]:
    return body["spec"]["pytorchReplicaSpecs"]


@pytest.mark.parametrize("nodes", [1, 16])
def test_operator_accepts_it(schema: dict[str, Any], nodes: int) -> None:
    job = JobSpec(JOB.name, JOB.module, JOB.args, JOB.nproc_per_node, nodes)
    body = to_pytorchjob(job, SETTINGS, Submitter("run", "pod", "uid"))
    jsonschema.validate(body, schema)
    assert sum(replica["replicas"] for replica in replicas(body).values()) == nodes
    assert replicas(body)["Master"]["replicas"] == 1


@pytest.mark.parametrize("recipe", ["meditron-7b", "meditron-70b"])
def test_operator_accepts_the_shipped_recipes(schema: dict[str, Any], recipe: str) -> None:
    loaded = load_recipe(recipe)
    for name, stage in (("pretrain", loaded.pretrain), ("sft", loaded.sft)):
        job = JobSpec(name, JOB.module, JOB.args, 8, stage.layout.world_size // 8)
        jsonschema.validate(to_pytorchjob(job, loaded.platform.launcher), schema)


SPOILT = {
    "unknown field of the policy": (("spec", "runPolicy", "cleanPodsPolicy"), "Running"),
    "a number as a text": (("spec", "pytorchReplicaSpecs", "Master", "replicas"), "1"),
    "ranks per node as a number": (("spec", "nprocPerNode"), 8),
    "unknown field of the pod": (("spec", "pytorchReplicaSpecs", "Master", "template", "spec", "nodeSelectors"), {}),
    "a toleration that is no list": (("spec", "pytorchReplicaSpecs", "Master", "template", "spec", "tolerations"), {}),
    "a container without its name": (
        ("spec", "pytorchReplicaSpecs", "Master", "template", "spec", "containers"),
        [{"image": "i"}],
    ),
}


@pytest.mark.parametrize("mistake", SPOILT)
def test_schema_finds_mistakes(schema: dict[str, Any], mistake: str) -> None:
    body = to_pytorchjob(JOB, SETTINGS)
    (*path, last), value = SPOILT[mistake]
    node = body
    for key in path:
        node = node[key]
    node[last] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(body, schema)


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
    assert container["command"][:3] == ["python", "-m", "components.platform.launcher.node"]
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
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": ["IPC_LOCK"]},
    }
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 4242
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["volumes"][0]["emptyDir"] == {"medium": "Memory", "sizeLimit": "64Gi"}
    assert {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]} == {
        "shm": "/dev/shm",
        "claim-0": "/workspace",
    }
    assert pod["terminationGracePeriodSeconds"] > 60
    assert pod["nodeSelector"]
    assert pod["tolerations"]


def test_pods_are_placed_close_together_and_all_at_once() -> None:
    body = to_pytorchjob(JOB, SETTINGS, Submitter("run-1"))
    template = replicas(body)["Worker"]["template"]
    own = {RUN_LABEL: "run-1", TASK_LABEL: "pretrain"}
    assert template["metadata"]["labels"] == own
    assert template["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"] == "roce-0"
    (term,) = template["spec"]["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["podAffinityTerm"] == {
        "topologyKey": "topology.site/block",
        "labelSelector": {"matchLabels": own},
    }
    (spread,) = template["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["maxSkew"], spread["whenUnsatisfiable"]) == (
        "kubernetes.io/hostname",
        1,
        "DoNotSchedule",
    )
    assert spread["labelSelector"] == {"matchLabels": own}
    assert template["spec"]["priorityClassName"] == "training"
    assert body["spec"]["runPolicy"]["schedulingPolicy"] == {"minAvailable": 16, "priorityClass": "training"}
    assert "schedulerName" not in template["spec"], "the operator names the scheduler"


def test_what_is_not_asked_for_is_not_there() -> None:
    launcher = {"kind": "pytorchjob", "pytorchjob": {"namespace": "n", "image": "i"}}
    body = to_pytorchjob(JOB, LauncherSettings.model_validate(launcher))
    assert not {"suspend", "schedulingPolicy"} & body["spec"]["runPolicy"].keys()
    pod = replicas(body)["Master"]["template"]["spec"]
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not {"priorityClassName", "serviceAccountName"} & pod.keys()
    assert pod["affinity"] == {}


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
