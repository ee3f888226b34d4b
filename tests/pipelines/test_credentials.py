"""Credentials come from the environment, and get nowhere from there: a canary is planted and looked for everywhere."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
import yaml

from components.platform.errors import SettingsError
from pipelines import following
from pipelines.cli import main
from pipelines.recipe import RECIPES, load_recipe
from tests.conftest import SECRET
from tests.pipelines.conftest import cluster_recipe
from tests.pipelines.kfp_fake import Moment

# Where this project and the libraries below it look for credentials
CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "HF_TOKEN",
    "KFP_COOKIE",
    "KFP_TOKEN",
    "MEDITRON_API_KEY",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "VLLM_API_KEY",
)

# One stage as a step of the DAG runs it, with MLflow around it; and the record of the submission
STAGE = """
import json, sys
from types import SimpleNamespace
from components.corpus import stage
from components.corpus.settings import CorpusSettings
from components.platform.step import Step
from components.platform.tracking.submissions import record_submission
from pipelines.submission import Submission

submission = Submission.of(sys.argv[1])
recipe = submission.recipe
texts = recipe.corpus.model_dump_json(), recipe.platform.model_dump_json()
record_submission(recipe.platform, submission.to_json())
outputs = [SimpleNamespace(path=path, metadata={}) for path in sys.argv[2:4]]
with Step("corpus", CorpusSettings, *texts) as step:
    step.finish(stage.run(step.settings, step.platform), *outputs)
json.dump([output.metadata for output in outputs], sys.stdout)
"""


@pytest.fixture
def planted(bucket, monkeypatch):
    """The canary in every variable that holds a credential (those of S3 are set by `bucket`)."""
    for name in ("KFP_TOKEN", "KFP_COOKIE", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "HF_TOKEN"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    return bucket


def small_recipe(folder: Path, host: str, workspace: str, uri: str) -> str:
    sources = yaml.safe_load((RECIPES / "laptop.yaml").read_text())["corpus"]["sources"]
    corpus = {"sources": sources[:1], "decontaminate": None}
    corpus["tokenizer"] = {"path": None, "train": {"vocab_size": 300}}
    tracking = {"uri": uri, "experiment": "canary", "artifacts": str(folder / "artifacts")}
    platform = {"workspace": workspace, "data": str(RECIPES.parent / "sample"), "tracking": tracking, "workers": 1}
    kubeflow = {"namespace": "meditron", "service_account": "steps"}
    return cluster_recipe(folder, host, platform=platform, corpus=corpus, cluster={"kubeflow": kubeflow})


def run_stage(recipe: str, folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", STAGE, recipe, str(folder / "corpus.json"), str(folder / "report.html")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[2])


def forms(secret: str) -> list[bytes]:
    """As it is, and as Kubernetes and HTTP write it."""
    return [secret.encode(), base64.b64encode(secret.encode())[:-4], base64.b64encode(f"{secret}:{secret}".encode())]


def assert_clean(places: dict[str, bytes], *secrets: str) -> None:
    wanted = [form for secret in secrets for form in forms(secret)]
    found = [name for name, content in places.items() if any(form in content for form in wanted)]
    assert not found


@pytest.mark.slow
def test_the_canary_is_in_no_output(planted, kfp, kubernetes, s3_server, mlflow_uri, tmp_path, capfd):
    kfp.moments = [Moment("RUNNING", (("plan-corpus", "FAILED", 1, 2),)), Moment("SUCCEEDED")]
    secret = base64.b64encode(SECRET.encode()).decode()
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
    kubernetes.add("secrets", "meditron", "meditron-s3", data=dict.fromkeys(keys, secret))
    recipe = small_recipe(tmp_path, kfp.url, f"{planted}/runs", mlflow_uri)
    assert main(["compile", "--recipe", recipe, "-o", str(tmp_path / "compiled.yaml")]) == 0
    for verb in ("preflight", "submit", "status", "schedule"):
        options = ["--cron", "0 3 * * 1"] if verb == "schedule" else []
        assert main([verb, "--recipe", recipe, *options]) == (1 if verb == "preflight" else 0)
    kfp.refuse_all = (401, "Unauthenticated")
    assert main(["status", "--recipe", recipe]) == 1
    printed = capfd.readouterr()

    done = run_stage(recipe, tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])[0]["digest"]
    refused = run_stage(small_recipe(tmp_path, kfp.url, "s3://no-such-bucket", mlflow_uri), tmp_path)
    assert refused.returncode == 1
    assert "corpus  error: s3://no-such-bucket/" in refused.stdout

    client, bucket = boto3.client("s3", endpoint_url=s3_server), planted.removeprefix("s3://")
    objects = [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket)["Contents"]]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    places = {
        "printed": (printed.out + printed.err).encode(),
        "the stage's log": (done.stdout + done.stderr).encode(),
        "the failed stage's log": (refused.stdout + refused.stderr).encode(),
        **{f"request {index}": f"{where}\n".encode() + body for index, (_, where, body) in enumerate(kfp.requests)},
        **{str(path): path.read_bytes() for path in files},
        **{key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in objects},
    }
    assert_clean(places, SECRET, s3_server)
    # It would have been found: these are the places where outputs lie.
    assert any(name.endswith("manifest.json") for name in objects)
    names = {path.name for path in files}
    assert {"compiled.yaml", "mlflow.db", "submission.json", "recipe.yaml", "report.html", "corpus.json"} <= names
    assert b"upload_version" in b"".join(content for name, content in places.items() if name.startswith("request"))
    assert any(SECRET in value for headers in kfp.headers for value in headers.values()), "it was in use"


def test_the_search_finds_a_canary():
    for form in forms(SECRET):
        with pytest.raises(AssertionError):
            assert_clean({"x": b"before" + form + b"after"}, SECRET)


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "HF_TOKEN", "mlflow_tracking_password"])
def test_credentials_in_a_recipe_are_refused_without_showing_them(tmp_path, name):
    places = [{"cluster": {"env": {name: SECRET}}}, {"platform": {"launcher": {"pytorchjob": {"env": {name: SECRET}}}}}]
    for place in places:
        with pytest.raises(
            SettingsError, match=f"{name}: credentials and endpoints don't belong in a recipe"
        ) as caught:
            load_recipe(cluster_recipe(tmp_path, "http://kfp", **place))
        assert SECRET not in str(caught.value)


def test_variables_that_are_no_credentials_are_taken(tmp_path):
    env = {"TOKENIZERS_PARALLELISM": "false", "NCCL_IB_GID_INDEX": "3", "AWS_DEFAULT_REGION": "eu-central-1"}
    assert load_recipe(cluster_recipe(tmp_path, "http://kfp", cluster={"env": env})).cluster.env.items() >= env.items()


def test_addresses_with_a_password_are_refused_without_showing_it(tmp_path):
    address = f"https://me:{SECRET}@server"
    with pytest.raises(SettingsError, match="no user name or password in an address") as caught:
        load_recipe(cluster_recipe(tmp_path, "http://kfp", platform={"tracking": {"uri": address}}))
    assert SECRET not in str(caught.value)
    with pytest.raises(SettingsError, match=r"recipe.yaml:\d+: cluster: https://...@server: no user name") as caught:
        load_recipe(cluster_recipe(tmp_path, address))
    assert SECRET not in str(caught.value)
