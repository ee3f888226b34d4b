"""Each check of preflight finds what is wrong, says what to do, and leaves nothing behind."""

import boto3
import pytest

from components.platform.errors import UserError
from components.platform.storage import s3 as access
from pipelines.cli import main
from pipelines.preflight.cluster import check_accounts, check_claims, check_job_kind, check_secrets
from pipelines.preflight.images import check_images
from pipelines.preflight.kubeflow import check_kfp
from pipelines.preflight.memory import check_memory
from pipelines.preflight.pool import check_pool
from pipelines.preflight.site import DoubtError, Site
from pipelines.preflight.tracking import check_mlflow
from pipelines.preflight.workspace import check_workspace
from pipelines.recipe import load_recipe
from tests.pipelines.conftest import cluster_recipe
from tests.pipelines.kubernetes_fake import PRODUCT

S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
MLFLOW_KEYS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
AS_STEPS = {"cluster": {"kubeflow": {"service_account": "meditron-steps"}}}


@pytest.fixture
def site(tmp_path, kfp):
    """A site of the recipe for 64 GPUs, changed as a test says."""

    def make(**changes):
        return Site(load_recipe(cluster_recipe(tmp_path, kfp.url, **changes)))

    return make


@pytest.fixture
def furnished(kubernetes):
    """A cluster that has all that the recipe needs."""
    kubernetes.add("secrets", "meditron", "meditron-s3", data=dict.fromkeys(S3_KEYS, "bm90IHRvIGJlIHNob3du"))
    kubernetes.add("secrets", "meditron", "meditron-mlflow", data=dict.fromkeys(MLFLOW_KEYS, "bm90IHRvIGJlIHNob3du"))
    claim = {"accessModes": ["ReadWriteMany"]}
    kubernetes.add("persistentvolumeclaims", "meditron", "meditron-workspace", spec=claim)
    for account in ("meditron-steps", "meditron-training"):
        kubernetes.add("serviceaccounts", "meditron", account)
    for number in range(9):
        kubernetes.add_node(f"gpu-{number}")
    return kubernetes


# KFP


@pytest.mark.parametrize("version", ["2.16.0", "v2.17.1", "3.0.0"])
def test_a_kfp_that_is_new_enough(kfp, site, version):
    kfp.version = version
    assert check_kfp(site()) == f"KFP {version}, single-user"


@pytest.mark.parametrize("version", ["2.15.2", "1.8.5"])
def test_a_kfp_that_is_too_old(kfp, site, version):
    kfp.version = version
    with pytest.raises(UserError, match=rf"KFP {version} is too old; upgrade the server to 2.16 or later"):
        check_kfp(site())


def test_a_kfp_that_tells_no_version(kfp, site):
    kfp.version = "unknown"
    with pytest.raises(DoubtError, match="the server does not tell its version"):
        check_kfp(site())


def test_a_kfp_that_does_not_know_us(site, kfp):
    recipe = site()
    kfp.multi_user = True
    assert check_kfp(recipe) == "KFP 2.17.0, multi-user, namespace meditron"
    kfp.refuse_all = (401, "Unauthenticated")
    with pytest.raises(UserError, match="401 Unauthenticated; check KFP_TOKEN"):
        check_kfp(site())


# The workspace


def test_a_workspace_on_s3_is_written_to_and_left_as_it_was(bucket, s3_server, site):
    assert check_workspace(site(platform={"workspace": f"{bucket}/runs"})) == f"{bucket}/runs: written, read, deleted"
    listing = boto3.client("s3", endpoint_url=s3_server).list_objects_v2(Bucket=bucket.removeprefix("s3://"))
    assert listing["KeyCount"] == 0


def test_a_workspace_that_is_not_there(bucket, site):
    with pytest.raises(UserError, match=r"s3://no-such-bucket/runs/\.preflight-"):
        check_workspace(site(platform={"workspace": "s3://no-such-bucket/runs"}))


def test_an_s3_that_is_not_there(bucket, site, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(access, "REQUEST_ATTEMPTS", 1)
    access.forget_client()
    with pytest.raises(UserError, match="S3 can't be reached .*check AWS_ENDPOINT_URL"):
        check_workspace(site(platform={"workspace": f"{bucket}/runs"}))


def test_a_workspace_on_a_claim(site):
    assert check_workspace(site()) == "/mnt/meditron/runs on claim meditron-workspace (not written to from here)"
    with pytest.raises(DoubtError, match="/tmp/runs is on no volume claim of the recipe"):
        check_workspace(site(platform={"workspace": "/tmp/runs"}))


# MLflow


def test_an_mlflow_that_takes_runs(site, mlflow_uri, tmp_path):
    tracking = {"uri": mlflow_uri, "experiment": "tests", "artifacts": str(tmp_path / "artifacts")}
    recipe = site(platform={"tracking": tracking})
    assert check_mlflow(recipe) == f"{mlflow_uri}, experiment tests (1)"
    assert check_mlflow(recipe) == f"{mlflow_uri}, experiment tests (1)"


def test_an_mlflow_that_is_not_there(site, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"MLflow at http://127.0.0.1:1, .*; check the address, MLFLOW_TRACKING_USER"):
        check_mlflow(site(platform={"tracking": {"uri": "http://127.0.0.1:1"}}))


# What the cluster has


def test_all_that_the_recipe_names_is_there(furnished, site):
    recipe = site(**AS_STEPS)
    assert check_job_kind(recipe) == "pytorchjobs.kubeflow.org/v1; meditron-steps may create it in meditron"
    assert check_secrets(recipe) == "meditron-s3, meditron-mlflow"
    assert check_claims(recipe) == "meditron-workspace"
    assert check_accounts(recipe) == "meditron-steps, meditron-training"


def test_a_cluster_without_the_operator(furnished, site):
    furnished.kinds = ["tfjobs"]
    with pytest.raises(UserError, match="does not know pytorchjobs.kubeflow.org/v1; install the operator"):
        check_job_kind(site())


def test_steps_that_may_not_create_jobs(furnished, site):
    steps = "system:serviceaccount:meditron:meditron-steps"
    furnished.denied = {(steps, "create")}
    with pytest.raises(UserError, match="meditron-steps may not create pytorchjobs.* in namespace meditron; bind"):
        check_job_kind(site(**AS_STEPS))
    [review] = furnished.reviews
    assert review["spec"]["resourceAttributes"] == {
        "group": "kubeflow.org",
        "namespace": "meditron",
        "resource": "pytorchjobs",
        "verb": "create",
    }


def test_who_may_not_ask_for_others_asks_for_himself(furnished, site):
    furnished.forbidden = {"/apis/authorization.k8s.io/v1/subjectaccessreviews"}
    assert check_job_kind(site(**AS_STEPS)).endswith("; you may create it in meditron")
    furnished.denied = {(None, "create")}
    with pytest.raises(UserError, match="you may not create"):
        check_job_kind(site(**AS_STEPS))


def test_secrets_and_keys_that_are_missing(furnished, site):
    del furnished.objects["/api/v1/namespaces/meditron/secrets/meditron-mlflow"]
    del furnished.objects["/api/v1/namespaces/meditron/secrets/meditron-s3"]["data"]["AWS_ENDPOINT_URL"]
    with pytest.raises(UserError) as caught:
        check_secrets(site(**AS_STEPS, **pods(secret_env=["nccl"])))
    assert str(caught.value).splitlines() == [
        "secret meditron-s3 in namespace meditron lacks AWS_ENDPOINT_URL; add it",
        "no secret meditron-mlflow in namespace meditron; create it",
        "no secret nccl in namespace meditron; create it",
    ]


def test_secrets_that_we_may_not_read(furnished, site):
    furnished.forbidden = {"/api/v1/namespaces/meditron/secrets/meditron-s3"}
    with pytest.raises(UserError, match="read_namespaced_secret: 403 Forbidden; ask for that permission"):
        check_secrets(site(**AS_STEPS))


def test_claims_of_both_namespaces(furnished, site):
    elsewhere = {"cluster": {"kubeflow": {"namespace": "kubeflow"}}}
    with pytest.raises(UserError, match="^no volume claim meditron-workspace in namespace kubeflow; create it$"):
        check_claims(site(**elsewhere))
    claim = furnished.objects["/api/v1/namespaces/meditron/persistentvolumeclaims/meditron-workspace"]
    claim["spec"]["accessModes"] = ["ReadWriteOnce"]
    with pytest.raises(UserError, match="is ReadWriteOnce; steps and ranks need ReadWriteMany"):
        check_claims(site(**AS_STEPS))
    del furnished.nodes[1:]
    assert check_claims(site(**AS_STEPS)) == "meditron-workspace"  # all pods are on one node


def pods(**settings):
    return {"platform": {"launcher": {"pytorchjob": settings}}}


def test_service_accounts(furnished, site):
    with pytest.raises(DoubtError, match="the recipe names none: the steps run as KFP's own"):
        check_accounts(site(**pods(service_account=None)))
    with pytest.raises(UserError, match="^no service account ranks in namespace meditron; create it$"):
        check_accounts(site(**AS_STEPS, **pods(service_account="ranks")))


# The node pool


def test_a_pool_with_room(furnished, site):
    recipe = site()
    training, *steps = check_pool(recipe).splitlines()
    assert training == "training: 9 of 9 nodes have 8 GPUs free, 8 needed"
    wanting = [name for name, step in recipe.recipe.cluster.steps.items() if step.gpus]
    assert steps == [f"{name}: 9 of 9 nodes have 1 GPUs free, 1 needed" for name in wanting]
    assert "quantize" in wanting


def test_a_pool_in_use(furnished, site):
    """What pods ask for is not free, but for those that have ended; nodes that are closed don't count at all."""
    furnished.add_pod("gpu-0", 8, phase="Succeeded")
    furnished.add_pod("gpu-1", 1)
    assert check_pool(site()).startswith("training: 8 of 9 nodes have 8 GPUs free, 8 needed")
    furnished.add_pod("gpu-2", 2, phase="Pending")
    furnished.add_pod("gpu-2", 2)
    with pytest.raises(UserError) as caught:
        check_pool(site())
    assert "training: 7 nodes have 8 GPUs free, 8 are needed (free/all: gpu-0 8/8, gpu-1 7/8, gpu-2 4/8" in str(
        caught.value
    )
    furnished.add_node("gpu-9", ready=False)
    furnished.add_node("gpu-10", cordoned=True)
    with pytest.raises(UserError, match="training: 7 nodes"):
        check_pool(site())


def test_a_pool_that_is_called_otherwise(furnished, site):
    with pytest.raises(UserError, match="no node that is ready has nvidia.com/gpu.product=NVIDIA-H100-80GB-HBM3"):
        check_pool(site(**pods(node_selector={PRODUCT: "NVIDIA-H100-80GB-HBM3"})))


@pytest.mark.parametrize(
    ("toleration", "is_enough"),
    [
        ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}, True),
        ({"key": "nvidia.com/gpu", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "nvidia.com/gpu", "value": "present"}, True),
        ({"key": "nvidia.com/gpu", "operator": "Equal", "value": "absent"}, False),
        ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_a_pool_that_is_tainted(furnished, site, toleration, is_enough):
    recipe = site(**pods(tolerations=[toleration]))
    if is_enough:
        assert check_pool(recipe)
    else:
        with pytest.raises(UserError, match=r"all 9 nodes with .* are tainted \(nvidia.com/gpu:NoSchedule\)"):
            check_pool(recipe)


# What needs no server


def test_images_by_tag_are_doubtful(site):
    with pytest.raises(DoubtError, match="by tag, which can be moved: meditron/pipeline:0.1.0, .* with --images"):
        check_images(site())


def test_memory(site):
    assert check_memory(site()).endswith("on a100-80gb")
    with pytest.raises(UserError, match="does not fit; see meditron plan --search"):
        check_memory(site(pretrain={"micro_batch_size": 100}))


# All together


def test_the_table_tells_all_at_once(furnished, tmp_path, kfp, bucket, mlflow_uri, capfd):
    """What can't be had does not hide what else is wrong."""
    kfp.version = "2.15.0"
    tracking = {"uri": mlflow_uri, "artifacts": str(tmp_path / "artifacts")}
    platform = {"workspace": f"{bucket}/runs", "data": str(tmp_path), "tracking": tracking}
    path = cluster_recipe(tmp_path, kfp.url, platform=platform, **AS_STEPS)
    assert main(["preflight", "--recipe", path]) == 1
    output = capfd.readouterr()
    rows = [line.split() for line in output.out.splitlines()]
    states = {row[0]: state for row in rows for state in ("ok", "warning", "FAILED") if state in row[:3]}
    assert states == {
        "recipe": "ok",
        "source": "FAILED",
        "memory": "ok",
        "images": "warning",
        "workspace": "ok",
        "MLflow": "ok",
        "KFP": "FAILED",
        "job": "ok",
        "secrets": "ok",
        "volume": "ok",
        "service": "ok",
        "GPUs": "ok",
    }
    assert output.err == "error: 2 of 12 checks failed: source files, KFP\n"
    assert "bm90IHRvIGJlIHNob3du" not in output.out


def test_nothing_is_there(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    platform = {"data": str(tmp_path), "tracking": {"uri": "http://127.0.0.1:1"}}
    assert main(["preflight", "--recipe", cluster_recipe(tmp_path, "http://127.0.0.1:1", platform=platform)]) == 1
    output = capfd.readouterr()
    assert "Traceback" not in output.out + output.err
    failed = "source files, MLflow, KFP, job kind, secrets, volume claims, service accounts, GPUs"
    assert output.err == f"error: 8 of 12 checks failed: {failed}\n"
    assert "no Kubernetes cluster is known" in output.out


def test_a_wrong_recipe_is_told_by_line(tmp_path, kfp, capfd):
    path = cluster_recipe(tmp_path, kfp.url, cluster={"kubeflow": {"hots": "x"}})
    assert main(["preflight", "--recipe", path]) == 1
    assert "cluster.kubeflow.hots: unknown key; did you mean `host`?" in capfd.readouterr().err
