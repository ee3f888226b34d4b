"""The MLflow server as the manifests configure it, on Postgres and S3 on loopback; its arguments are the manifest's."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests

from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.storage import s3 as access
from components.platform.tracking.models import ModelRegistry
from components.platform.tracking.runs import stage_run
from components.platform.tracking.tracker import Tracker
from tests.manifests.rendering import copy_with_secrets, kustomize, of_kind, one, pod_templates, require_kubectl

pytestmark = pytest.mark.slow
PATIENCE_SECONDS = 120
HOST_OF_THE_RECIPES = "mlflow.meditron.svc:5000"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not ready():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    require_kubectl()
    return kustomize(copy_with_secrets(tmp_path_factory.mktemp("manifests")) / "overlays" / "kind")


def secret(objects: list[dict[str, Any]], name: str) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in one(objects, "Secret", name)["data"].items()}


def container_of(objects: list[dict[str, Any]], workload: str) -> dict[str, Any]:
    (container,) = pod_templates(objects)[workload]["spec"]["containers"]
    return container


def environment(objects: list[dict[str, Any]], workload: str) -> dict[str, str]:
    """The variables that Kubernetes would give the container."""
    container = container_of(objects, workload)
    variables: dict[str, str] = {}
    for source in container.get("envFrom", []):
        variables |= secret(objects, source["secretRef"]["name"])
    for variable in container["env"]:
        if "value" in variable:
            variables[variable["name"]] = variable["value"]
        elif reference := variable["valueFrom"].get("secretKeyRef"):
            variables[variable["name"]] = secret(objects, reference["name"])[reference["key"]]
        else:
            assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
            variables[variable["name"]] = "meditron"
    return variables


def write_config(objects: list[dict[str, Any]], prefix: str, folder: Path) -> Path:
    """The files of a config map whose name begins with `prefix`, which Kubernetes would mount."""
    (found,) = [entry for entry in of_kind(objects, "ConfigMap") if entry["metadata"]["name"].startswith(prefix)]
    for name, text in found["data"].items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def postgres(objects: list[dict[str, Any]]) -> Iterator[int]:
    """The port of a database as the manifest's image makes it: its user owns the cluster, passwords over TCP."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not binaries:
        pytest.skip("no PostgreSQL server: apt-get install postgresql")
    settings = environment(objects, "mlflow-postgres")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # pytest's own folders are closed to other users
    as_user = []
    if os.geteuid() == 0:  # which PostgreSQL refuses
        shutil.chown(folder, "postgres", "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    password, data, log, port = folder / "password", folder / "data", folder / "log", free_port()
    password.write_text(settings["POSTGRES_PASSWORD"])
    initdb = [binaries[-1] / "initdb", "-D", data, "-U", settings["POSTGRES_USER"], f"--pwfile={password}"]
    subprocess.run([*as_user, *initdb, "--auth=scram-sha-256", "--no-sync"], check=True, stdout=subprocess.DEVNULL)
    options = ["-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    with log.open("wb") as output:
        server = subprocess.Popen([*as_user, binaries[-1] / "postgres", "-D", data, *options], stderr=output)
    client = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": settings["POSTGRES_USER"]}
    client |= {"PGPASSWORD": settings["POSTGRES_PASSWORD"]}

    def create_database() -> bool:
        command = [binaries[-1] / "createdb", settings["POSTGRES_DB"]]
        return subprocess.run(command, env=os.environ | client, capture_output=True).returncode == 0

    try:
        wait_until(create_database, server, log)
        yield port
    finally:
        server.terminate()
        server.wait(timeout=30)
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Server:
    """A running MLflow server; `uri` names the host that the manifest allows besides its service."""

    uri: str
    objects: list[dict[str, Any]]

    def login(self, name: str) -> tuple[str, str]:
        """User and password that secret `name` holds."""
        values = secret(self.objects, name)
        prefix = {"mlflow-server": "MLFLOW_AUTH_ADMIN", "meditron-mlflow": "MLFLOW_TRACKING"}[name]
        return values[f"{prefix}_USERNAME"], values[f"{prefix}_PASSWORD"]

    def ask(self, host: str | None = None, auth: tuple[str, str] | None = None) -> int:
        """Status of a request for the experiments."""
        headers = {} if host is None else {"Host": host}
        url = f"{self.uri}/api/2.0/mlflow/experiments/search"
        return requests.get(url, params={"max_results": 1}, headers=headers, auth=auth, timeout=60).status_code


def on_loopback(objects: list[dict[str, Any]], postgres: int, s3_server: str) -> tuple[int, list[str], dict[str, str]]:
    """Port, command and variables of the manifest's server; only where it listens and finds its servers is local."""
    container, port = container_of(objects, "mlflow"), free_port()
    variables = environment(objects, "mlflow")
    arguments = [argument.replace("$(NAMESPACE)", variables["NAMESPACE"]) for argument in container["args"]]
    for name, value in {"--host": "127.0.0.1", "--port": str(port)}.items():
        (place,) = [place for place, argument in enumerate(arguments) if argument.startswith(f"{name}=")]
        arguments[place] = f"{name}={value}"
    variables |= {"PGHOST": "127.0.0.1", "PGPORT": str(postgres), "AWS_ENDPOINT_URL": s3_server}
    return port, [*container["command"], *arguments], variables


def is_up(objects: list[dict[str, Any]], port: int) -> bool:
    """What the manifest's probe asks."""
    probe = container_of(objects, "mlflow")["startupProbe"]["httpGet"]["path"]
    try:
        return requests.get(f"http://127.0.0.1:{port}{probe}", timeout=60).status_code == 200
    except requests.ConnectionError:
        return False


@pytest.fixture(scope="module")
def server(
    objects: list[dict[str, Any]], postgres: int, s3_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """`mlflow server` with the manifest's command, as a process."""
    folder = tmp_path_factory.mktemp("mlflow")
    port, command, variables = on_loopback(objects, postgres, s3_server)
    variables["HOME"] = str(folder)
    variables["MLFLOW_AUTH_CONFIG_PATH"] = str(write_config(objects, "mlflow-auth", folder) / "auth.ini")
    variables["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command[0] = str(Path(sys.executable).with_name(command[0]))
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=variables, cwd=folder, stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_until(lambda: is_up(objects, port), process, log)
        yield Server(f"http://localhost:{port}", objects)
    finally:
        os.killpg(process.pid, 9)
        process.wait()


@pytest.fixture(scope="module")
def run_user_job(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Does what the manifest's job does, with its own script; what it printed."""
    folder = tmp_path_factory.mktemp("job")
    script = write_config(server.objects, "mlflow-user", folder) / "create_user.py"
    variables = environment(server.objects, "mlflow-user") | {"MLFLOW_TRACKING_URI": server.uri, "HOME": str(folder)}
    command = [sys.executable, script]
    return lambda: subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def pipeline_user(server: Server, run_user_job: Callable[[], str]) -> tuple[str, str]:
    """The user that the job has added."""
    assert run_user_job() == "user pipeline added\n"
    return server.login("meditron-mlflow")


def test_who_may_ask_and_under_which_name(server: Server, pipeline_user: tuple[str, str]) -> None:
    assert server.ask(auth=pipeline_user) == 200
    assert server.ask(host=HOST_OF_THE_RECIPES, auth=pipeline_user) == 200
    assert server.ask(host="mlflow:5000", auth=server.login("mlflow-server")) == 200
    assert server.ask() == 401
    assert server.ask(auth=(pipeline_user[0], "wrong")) == 401
    assert server.ask(host="example.org", auth=pipeline_user) == 403
    assert server.ask(host="127.0.0.1:5000", auth=pipeline_user) == 403


def test_job_can_be_applied_again(
    server: Server, pipeline_user: tuple[str, str], run_user_job: Callable[[], str]
) -> None:
    assert run_user_job() == "user pipeline is there; its password is set\n"
    assert server.ask(auth=pipeline_user) == 200


def test_user_of_the_pipeline_is_no_administrator(server: Server, pipeline_user: tuple[str, str]) -> None:
    new = {"username": "other", "password": "a-password-of-some-length"}
    answer = requests.post(f"{server.uri}/api/2.0/mlflow/users/create", json=new, auth=pipeline_user, timeout=60)
    assert answer.status_code == 403


def test_pipeline_logs_and_registers(
    server: Server, pipeline_user: tuple[str, str], s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in secret(server.objects, "meditron-s3").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", pipeline_user[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", pipeline_user[1])
    monkeypatch.setenv("KFP_RUN_ID", "run-1")
    access.forget_client()
    s3 = boto3.client("s3", region_name="us-east-1")
    s3.create_bucket(Bucket="meditron")
    platform = PlatformSettings(
        data="s3://meditron/data",
        workspace=str(tmp_path),
        tracking=TrackingSettings(uri=server.uri, experiment="meditron-7b"),
    )
    report = tmp_path / "report.html"
    report.write_text("<p>a report</p>")
    with stage_run(platform, "register", {"model_name": "tiny"}) as run:
        run.log_history([{"iteration": step, "loss": 8.0 - step} for step in range(3)])
        run.log_artifact(report)
        registry = ModelRegistry(platform.tracking.uri)
        version = registry.register("tiny", "s3://meditron/awq/1", run.run_id, {"sft.digest": "1"})
        registry.set_alias(version, "challenger")
        on_a_volume = registry.register("tiny", "/mnt/meditron/runs/awq/2/model", run.run_id, {})
        again = registry.register("tiny", "/mnt/meditron/runs/awq/2/model", run.run_id, {})

    client = Tracker(platform).client
    logged = client.get_run(run.run_id)
    assert logged.info.status == "FINISHED"
    assert logged.data.params == {"model_name": "tiny"}
    assert [entry.value for entry in client.get_metric_history(run.run_id, "loss")] == [8.0, 7.0, 6.0]
    assert client.get_model_version("tiny", str(version.version)).source == "s3://meditron/awq/1"
    assert registry.find("tiny", "challenger") == registry.get("tiny", version.version)
    assert on_a_volume == again
    assert on_a_volume.version == version.version + 1
    assert on_a_volume.tags == {"meditron.model": "/mnt/meditron/runs/awq/2/model"}
    note = f"{logged.info.artifact_uri.removeprefix('s3://meditron/')}/model.json"
    assert b"/mnt/meditron/runs/awq/2/model" in s3.get_object(Bucket="meditron", Key=note)["Body"].read()

    root = logged.info.artifact_uri
    assert root.startswith("s3://meditron/mlflow/")
    key = f"{root.removeprefix('s3://meditron/')}/report.html"
    assert s3.get_object(Bucket="meditron", Key=key)["Body"].read() == report.read_bytes()
    page = f"{server.uri}/get-artifact"  # MLflow's own page reads it for a person's browser
    shown = requests.get(page, params={"run_id": run.run_id, "path": "report.html"}, auth=pipeline_user, timeout=60)
    assert shown.content == report.read_bytes()
    access.forget_client()
