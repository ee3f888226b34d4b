"""The cluster launcher, with the real kubernetes client against a stateful API server: the life of a job."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.platform.errors import UserError
from components.platform.launcher import LaunchError, LaunchInterrupted, launch
from components.platform.launcher.identity import HASH_LABEL
from components.platform.launcher.node import NodeEnd
from components.platform.launcher.pytorchjob_spec import to_pytorchjob
from tests.platform.cluster import Cluster, Job
from tests.platform.launching import JOB, Launch, settings

Start = Callable[..., Launch]


def submitted(cluster: Cluster) -> Job:
    """The job as an earlier launcher has put it on the cluster."""
    cluster.create("pytorchjobs", to_pytorchjob(JOB, settings()))
    return cluster.job()


@pytest.mark.parametrize("kind", ["pytorchjob", "trainjob"])
def test_from_queue_to_success(cluster: Cluster, start: Start, kind: str) -> None:
    launcher = start(JOB, settings(kind))
    job = cluster.job(f"{kind}s")
    launcher.says("waiting for pods")
    conditions = [{"type": "PodScheduled", "status": "False", "message": "0/16 nodes: 16 Insufficient nvidia.com/gpu."}]
    job.pods("Pending", "Pending", conditions=conditions)
    launcher.says("waiting for pods: no node has enough free nvidia.com/gpu (0/16 nodes: 16 Insufficient nvidia")
    job.run()
    launcher.says("running")
    job.write(0, "iteration 1", '{"iteration": 2}')
    job.write(1, "[rank 9] a warning", "torchrun's own words")
    launcher.says("[node 1] torchrun's own words")
    job.succeed()
    launcher.ends()
    assert sorted(launcher.log) == [
        "[node 1] torchrun's own words",
        "[rank 9] a warning",
        "iteration 1",
        '{"iteration": 2}',
    ]
    assert "succeeded, after 0:00:0" in launcher.output
    assert cluster.count("DELETE") == 0
    assert cluster.objects["pods"].keys() == {job.pod_name(0)}, "the others hold no GPU any more"


def test_broken_connections_cost_nothing(cluster: Cluster, start: Start) -> None:
    cluster.fail("POST", "pytorchjobs", 500, 429)
    cluster.fail("GET", "watch=True", 503, 0)
    cluster.fail("GET", "/pods?", 500, 0)
    cluster.fail("GET", "/log", 500)
    cluster.break_off("pods?", after=40)  # within the first line of a watch
    launcher = start()
    job = cluster.job()
    job.pods("Pending", "Pending")
    job.run()
    lines = [f"iteration {number}" for number in range(1, 41)]
    for number, line in enumerate(lines):
        job.write(0, line, seconds=0 if number % 3 else 0.4)  # several lines have the same time
        if number % 5 == 0:
            cluster.break_off("/log", after=70)  # within a line
            launcher.says(line)
            cluster.break_streams()
        if number == 20:
            cluster.forget()
            cluster.break_streams()
    launcher.says(lines[-1])
    job.succeed()
    launcher.ends()
    assert launcher.log == lines
    assert not cluster._faults


def test_watch_goes_on_from_the_last_change(cluster: Cluster, start: Start) -> None:
    def versions() -> list[int]:
        return [int(found[1]) for r in cluster.requests if (found := re.search(r"/pods\?.*resourceVersion=(\d+)", r))]

    launcher = start()
    job = cluster.job()
    cluster.until(lambda: len(versions()) == 1)
    job.run()
    launcher.says("running")
    cluster.break_streams()
    cluster.until(lambda: len(versions()) == 2)
    first, second = versions()
    assert second > first
    job.succeed()
    launcher.ends()


def test_equal_lines_are_all_shown(cluster: Cluster, start: Start) -> None:
    launcher = start()
    job = cluster.job()
    job.run()
    for _ in range(3):
        job.write(0, "the same", "the same", seconds=0)
        cluster.break_streams()
        cluster.until(lambda: launcher.log.count("the same") % 2 == 0 and "the same" in launcher.log)
    job.write(0, "no line end", end="")
    job.succeed()
    launcher.ends()
    assert launcher.log == ["the same"] * 6 + ["no line end"]


def test_log_goes_on_with_the_pod_that_replaces_a_lost_one(cluster: Cluster, start: Start) -> None:
    launcher = start()
    job = cluster.job()
    job.run()
    job.write(0, "iteration 1")
    launcher.says("iteration 1")
    job.end_pod(0, 137)
    job.lose(0)
    job.run()  # pods of a PyTorchJob keep their names
    job.write(0, "iteration 1 again")
    launcher.says("iteration 1 again")
    job.succeed()
    launcher.ends()
    assert launcher.log == ["iteration 1", "iteration 1 again"]


def test_failure_names_the_first_rank_and_its_error(cluster: Cluster, start: Start) -> None:
    launcher = start()
    job = cluster.job()
    job.run()
    launcher.says("running")
    job.write(0, "RuntimeError: Connection closed by peer")
    job.end_pod(0, 1, seconds=50, message=NodeEnd(0, 1, 50.0, "RuntimeError: Connection closed by peer").to_message())
    # Its torchrun waited for its other ranks
    job.end_pod(1, 1, seconds=90, message=NodeEnd(9, 1, 49.5, "Traceback\nValueError: the moon").to_message())
    job.become("Failed", message="PyTorchJob failed")
    with pytest.raises(LaunchError) as caught:
        launcher.ends()
    assert str(caught.value) == (
        f"pretrain: rank 9 failed first (pod {job.pod_name(1)}, exit code 1): its own error says why.\n"
        "Traceback\nValueError: the moon"
    )


def test_failure_of_a_pod_that_is_replaced_meanwhile(cluster: Cluster, start: Start) -> None:
    launcher = start()
    job = cluster.job()
    job.run()
    job.write(1, "last words")
    launcher.says("last words")
    job.end_pod(1, 137, reason="OOMKilled", seconds=10)
    job.lose(1)
    launcher.says("waiting for pods")
    job.end_pod(0, 1, seconds=600)
    job.become("Failed")
    with pytest.raises(LaunchError, match=r"node 1 failed first .*-worker-0, exit code 137 OOMKilled.*\nlast words"):
        launcher.ends()


def test_failure_without_pods_shows_the_operators_reason(cluster: Cluster, start: Start) -> None:
    launcher = start()
    cluster.job().become("Failed", message="the spec is not valid")
    with pytest.raises(LaunchError, match="it failed: the spec is not valid"):
        launcher.ends()


def test_ranks_that_saved_and_left_are_no_failure(cluster: Cluster, start: Start) -> None:
    launcher = start()
    job = cluster.job()
    job.run()
    job.end_pod(0, 75)
    job.end_pod(1, 75)
    job.become("Failed")
    with pytest.raises(LaunchInterrupted, match="a checkpoint is saved, start it again"):
        launcher.ends()


def test_restarted_launcher_adopts_its_job(cluster: Cluster, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submitted(cluster)
    job.run()
    job.write(0, *(f"iteration {number}" for number in range(1500)))
    monkeypatch.setenv("KFP_POD_NAME", "second-attempt")
    monkeypatch.setenv("KFP_POD_UID", "uid-2")
    launcher = start()
    launcher.says("iteration 1499")
    job.succeed()
    launcher.ends()
    assert "found it already submitted" in launcher.output
    assert launcher.log == [f"iteration {number}" for number in range(500, 1500)]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "second-attempt", "uid": "uid-2"}
    assert job.body["metadata"]["ownerReferences"] == [owner]
    assert len(cluster.objects["pytorchjobs"]) == 1


def test_answer_to_the_submission_that_was_lost(cluster: Cluster, start: Start) -> None:
    """The job was created, but the connection broke before we heard of it: the second attempt finds it."""
    submitted(cluster)
    cluster.fail("POST", "pytorchjobs", 0)
    launcher = start()
    launcher.says("found it already submitted")
    cluster.job().run()
    cluster.job().succeed()
    launcher.ends()


def test_failed_attempt_is_replaced(cluster: Cluster, start: Start) -> None:
    old = submitted(cluster)
    old.become("Failed")
    launcher = start()
    launcher.says("submitted")
    assert cluster.count("DELETE") == 1
    job = cluster.job()
    job.run()
    job.succeed()
    launcher.ends()


def test_another_job_of_that_name_is_left_alone(cluster: Cluster, start: Start) -> None:
    submitted(cluster).body["metadata"]["labels"][HASH_LABEL] = "different"
    launcher = start()
    with pytest.raises(LaunchError, match="another PyTorchJob is called"):
        launcher.ends()
    assert cluster.count("DELETE") == 0


def test_time_in_the_queue_is_limited_apart_from_running_time(cluster: Cluster, start: Start) -> None:
    launcher = start(JOB, settings(pending_timeout_seconds=1))
    cluster.job().pods("Running", "Pending")
    with pytest.raises(LaunchError, match="waited longer than launcher.pytorchjob.pending_timeout_seconds=1"):
        launcher.ends()
    assert cluster.count("DELETE") == 1

    launcher = start(JOB, settings(launcher={"timeout_seconds": 2}, pending_timeout_seconds=1))
    cluster.job().run()
    with pytest.raises(LaunchError, match="ran longer than launcher.timeout_seconds=2"):
        launcher.ends()
    assert cluster.count("DELETE") == 2


def test_image_that_can_not_be_pulled_is_not_waited_for(cluster: Cluster, start: Start) -> None:
    launcher = start(JOB, settings(start_error_grace_seconds=0.3))
    job = cluster.job()
    state = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    job.pods("Pending", "Pending", containerStatuses=[{"name": "pytorch", "state": state}])
    with pytest.raises(LaunchError, match=r"can't start: .*its image can't be pulled \(ImagePullBackOff: Back-off"):
        launcher.ends()
    assert cluster.count("DELETE") == 1


def test_image_that_comes_late_is_waited_for(cluster: Cluster, start: Start) -> None:
    launcher = start(JOB, settings(start_error_grace_seconds=600))
    job = cluster.job()
    waiting = [{"name": "pytorch", "state": {"waiting": {"reason": "ErrImagePull"}}}]
    job.pods("Pending", "Pending", containerStatuses=waiting)
    launcher.says("its image can't be pulled")
    job.run()
    launcher.says("running")
    job.succeed()
    launcher.ends()


def test_quota_is_told_from_the_events(cluster: Cluster, start: Start) -> None:
    launcher = start()
    job = cluster.job()
    job.event("FailedCreatePod", 'pods "x" is forbidden: exceeded quota: gpus, requested: 8, used: 16, limited: 16')
    launcher.says("waiting for pods: the quota gpus of the namespace is used up")
    job.run()
    job.succeed()
    launcher.ends()


def test_job_that_somebody_deleted(cluster: Cluster, start: Start) -> None:
    launcher = start()
    job = cluster.job()
    launcher.says("waiting for pods")
    cluster.remove("pytorchjobs", job.name)
    with pytest.raises(LaunchError, match="was deleted by someone else"):
        launcher.ends()


@pytest.mark.parametrize(("method", "path"), [("POST", "pytorchjobs"), ("GET", "pods")])
def test_refusal(cluster: Cluster, start: Start, method: str, path: str) -> None:
    cluster.fail(method, path, 403)
    launcher = start()
    with pytest.raises(LaunchError, match=r"the Kubernetes API refused \(403\): spoilt"):
        launcher.ends()


def test_network_is_measured_before_a_job_of_several_nodes(cluster: Cluster, start: Start) -> None:
    gated = settings(launcher={"min_bus_bandwidth_gb_per_second": 80})
    launcher = start(JOB, gated)
    gate = cluster.job()
    assert gate.name.startswith("meditron-pretrain-network-")
    pod = gate.body["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]
    assert pod["containers"][0]["command"][3:] == ["components.platform.launcher.bandwidth", "--minimum", "80.0"]
    gate.run()
    gate.end_pod(0, 1, message=NodeEnd(0, 1, 1.0, "the network is too slow: 3 GB/s").to_message())
    gate.become("Failed")
    with pytest.raises(LaunchError, match="the network is too slow: 3 GB/s"):
        launcher.ends()
    assert cluster.count("POST") == 1

    launcher = start(JOB, gated)
    launcher.says("submitted")  # the failed measurement is replaced
    assert "status" not in gate.body
    gate.run()
    gate.succeed()
    cluster.until(lambda: cluster.objects["pytorchjobs"].keys() - {gate.name} != set())
    assert gate.name not in cluster.objects["pytorchjobs"]
    job = cluster.job()
    job.run()
    launcher.says("running")
    again = start(JOB, gated)  # a job that runs is not measured, for its pods are taken
    again.says("found it already submitted")
    job.succeed()
    launcher.ends()
    again.ends()
    assert cluster.objects["pytorchjobs"].keys() == {job.name}


def test_without_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(UserError, match="no Kubernetes cluster is known"):
        launch(JOB, settings())


LAUNCHER = """
import sys
from components.platform.launcher import LaunchInterrupted, launch
from tests.platform.launching import JOB, settings

try:
    launch(JOB, settings(poll_seconds=60))
except LaunchInterrupted as error:
    sys.exit(f"INTERRUPTED {error}")
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_deletes_the_job_once(cluster: Cluster, number: signal.Signals) -> None:
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER], env=os.environ, stderr=subprocess.PIPE, text=True)
    job = cluster.job()
    job.run()
    cluster.until(lambda: cluster.asked("/log") > 0)
    launcher.send_signal(number)
    launcher.send_signal(number)
    errors = launcher.communicate(timeout=20)[1]
    assert f"INTERRUPTED pretrain stopped because it got {number.name}" in errors
    assert cluster.count("DELETE") == 1
    assert cluster.objects["pytorchjobs"] == {}
