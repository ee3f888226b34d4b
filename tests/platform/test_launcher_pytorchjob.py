"""The cluster launcher, with the real kubernetes client against a small API server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.platform.launcher import JobSpec, LaunchError, launch
from components.platform.launcher.pytorchjob_spec import HASH_LABEL, to_pytorchjob
from components.platform.launcher.settings import LauncherSettings
from tests.platform.cluster import Cluster, Moment

JOB = JobSpec("pretrain", "some.module", (), nproc_per_node=8, nnodes=2)
NAME = "pretrain  PyTorchJob"
DONE = Moment("Succeeded", ("Succeeded", "Succeeded"))


def settings(**pods: Any) -> LauncherSettings:
    described = {"namespace": "meditron", "image": "i", "poll_seconds": 0.01} | pods
    return LauncherSettings.model_validate({"kind": "pytorchjob", "pytorchjob": described})


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Cluster]]:
    """Starts a cluster of some moments, and has the kubernetes client use it."""
    clusters = []

    def start_cluster(*moments: Moment) -> Cluster:
        cluster = Cluster(*moments)
        clusters.append(cluster)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{cluster.server_port}"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "users": [{"name": "test", "user": {}}],
        }
        path = tmp_path / f"kubeconfig-{len(clusters)}"
        path.write_text(json.dumps(config))
        monkeypatch.setenv("KUBECONFIG", str(path))
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
        return cluster

    for variable in ("KFP_RUN_ID", "KFP_POD_NAME", "KFP_POD_UID"):
        monkeypatch.delenv(variable, raising=False)
    yield start_cluster
    for cluster in clusters:
        cluster.shutdown()
        cluster.server_close()


def submitted(cluster: Cluster, launcher: LauncherSettings) -> str:
    """Put the job on the cluster as an earlier launcher has."""
    body = to_pytorchjob(JOB, launcher)
    cluster.jobs[body["metadata"]["name"]] = body
    return body["metadata"]["name"]


def test_log_is_passed_on_once_from_queue_to_success(
    start: Callable[..., Cluster], capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = start(
        Moment("Created", ("Pending", "Pending"), scheduling="0/16 nodes are available"),
        Moment(log=("iteration 1",)),
        Moment(log=("iteration 1", '{"iteration": 2}'), errors=[500, 503]),
        Moment(log=("iteration 1", '{"iteration": 2}', "iteration 3")),
        Moment("Succeeded", ("Succeeded", "Running"), log=("iteration 1", '{"iteration": 2}', "iteration 3", "done")),
    )
    launch(JOB, settings())
    lines = [
        line.split(": ", 1)[-1] if line.startswith(NAME) else line for line in capsys.readouterr().out.splitlines()
    ]
    assert lines == [
        "submitted",
        "waiting for pods: 0/16 nodes are available",
        "iteration 1",
        "running",
        '{"iteration": 2}',
        "iteration 3",
        "done",
    ]
    assert cluster.count("DELETE") == 0


def test_failure_shows_the_pod_that_failed_first(start: Callable[..., Cluster]) -> None:
    exits = {0: (1, "Error", 60), 1: (137, "OOMKilled", 50)}
    start(Moment(), Moment("Failed", ("Failed", "Failed"), exits=exits))
    with pytest.raises(LaunchError) as caught:
        launch(JOB, settings())
    assert str(caught.value) == (
        "pretrain: pod job-worker-0 failed (exit code 137, OOMKilled)\nlast words of job-worker-0"
    )


def test_failure_without_pods_shows_the_operators_reason(start: Callable[..., Cluster]) -> None:
    start(Moment("Failed", ()))
    with pytest.raises(LaunchError, match="failed: is Failed"):
        launch(JOB, settings())


def test_restarted_launcher_adopts_its_job(
    start: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = start(Moment(), Moment(), DONE)
    submitted(cluster, settings())
    monkeypatch.setenv("KFP_POD_NAME", "second-attempt")
    monkeypatch.setenv("KFP_POD_UID", "uid-2")
    launch(JOB, settings())
    assert "found it already submitted" in capsys.readouterr().out
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "second-attempt", "uid": "uid-2"}
    assert cluster.patches == [("application/merge-patch+json", {"metadata": {"ownerReferences": [owner]}})]
    assert len(cluster.jobs) == 1


def test_failed_attempt_is_replaced(start: Callable[..., Cluster]) -> None:
    cluster = start(Moment("Failed", ()), Moment(), DONE)
    submitted(cluster, settings())
    launch(JOB, settings())
    assert cluster.count("DELETE") == 1


def test_another_job_of_that_name_is_left_alone(start: Callable[..., Cluster]) -> None:
    cluster = start(Moment())
    name = submitted(cluster, settings())
    cluster.jobs[name]["metadata"]["labels"][HASH_LABEL] = "different"
    with pytest.raises(LaunchError, match="another PyTorchJob is called"):
        launch(JOB, settings())
    assert cluster.count("DELETE") == 0


def test_time_in_the_queue_is_limited_apart_from_running_time(start: Callable[..., Cluster]) -> None:
    cluster = start(Moment("Created", ("Running", "Pending")))
    with pytest.raises(LaunchError, match="waited longer than launcher.pytorchjob.pending_timeout_seconds=1"):
        launch(JOB, settings(pending_timeout_seconds=1))
    assert cluster.count("DELETE") == 1

    cluster = start(Moment())
    limited = settings(pending_timeout_seconds=1).model_copy(update={"timeout_seconds": 2})
    with pytest.raises(LaunchError, match="ran longer than launcher.timeout_seconds=2"):
        launch(JOB, limited)
    assert cluster.count("DELETE") == 1


def test_job_that_somebody_deleted(start: Callable[..., Cluster]) -> None:
    start(Moment(errors=[404]))
    with pytest.raises(LaunchError, match="was deleted by someone else"):
        launch(JOB, settings())


def test_refusal(start: Callable[..., Cluster]) -> None:
    start(Moment(errors=[403]))
    with pytest.raises(LaunchError, match="the Kubernetes API refused: .403"):
        launch(JOB, settings())


def test_without_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(LaunchError, match="no Kubernetes cluster to run a PyTorchJob on"):
        launch(JOB, settings())


LAUNCHER = """
import sys
from components.platform.launcher import JobSpec, LaunchInterrupted, launch
from components.platform.launcher.settings import LauncherSettings

pods = {"namespace": "meditron", "image": "i", "poll_seconds": 60}
try:
    launch(
        JobSpec("pretrain", "m", (), nproc_per_node=8, nnodes=2),
        LauncherSettings.model_validate({"kind": "pytorchjob", "pytorchjob": pods}),
    )
except LaunchInterrupted as error:
    sys.exit(f"INTERRUPTED {error}")
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_deletes_the_job_once(start: Callable[..., Cluster], number: signal.Signals) -> None:
    cluster = start(Moment())
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER], env=os.environ, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not any("/log" in request for request in cluster.requests):
        assert launcher.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    launcher.send_signal(number)
    launcher.send_signal(number)
    errors = launcher.communicate(timeout=20)[1]
    assert f"INTERRUPTED pretrain stopped because it got {number.name}" in errors
    assert cluster.count("DELETE") == 1
    assert cluster.jobs == {}
