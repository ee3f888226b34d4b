"""From what a cluster says about a job to one cause and a remedy: a table of cases."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from components.platform.launcher.kinds import PYTORCHJOB
from components.platform.launcher.node import MESSAGE_BYTES, NodeEnd
from components.platform.launcher.status import Condition, Event, JobStatus, PodStatus, job_status, pod_status
from components.platform.launcher.triage import (
    TAIL_LINES,
    cannot_start,
    explain_failure,
    first_to_fail,
    was_interrupted,
    why_waiting,
)

JOB = JobStatus("job", {"Failed": Condition("PyTorchJobFailed", "job failed")})


def pod(node_rank: int = 0, **fields: Any) -> PodStatus:
    return PodStatus(f"pod-{node_rank}", f"uid-{node_rank}", node_rank, node=f"gpu-{node_rank}", **fields)


def failed(node_rank: int = 0, exit_code: int = 1, finished: float = 100, **fields: Any) -> PodStatus:
    return pod(node_rank, phase="Failed", exit_code=exit_code, finished=finished, **fields)


def explain(*pods: PodStatus, log: str = "last words", events: tuple[Event, ...] = (), job: JobStatus = JOB) -> str:
    return explain_failure(job, "Failed", pods, events, {pod.uid: log for pod in pods})


DISRUPTED = {
    "preempted": ("PreemptionByScheduler", "higher priority.*Run again.*priority_class"),
    "node unusable": ("DeletionByTaintManager", "its node became unusable.*last checkpoint"),
    "node gone": ("DeletionByPodGC", "its node is gone.*last checkpoint"),
    "drained": ("EvictionByEvictionAPI", "evicted, as when a node is drained"),
    "node shuts down": ("TerminationByKubelet", "short of resources or shutting down"),
    "something new": ("NobodyKnows", "the cluster ended it .by NobodyKnows."),
}


@pytest.mark.parametrize("case", DISRUPTED)
def test_disruption_is_the_cause(case: str) -> None:
    reason, expected = DISRUPTED[case]
    text = explain(failed(exit_code=143, disruption=Condition(reason, f"by {reason}")), log="CUDA out of memory")
    assert text.startswith("node 0 failed first (pod pod-0 on gpu-0, exit code 143): ")
    assert_matches(expected, text)


def assert_matches(expected: str, text: str) -> None:
    assert re.search(expected, text, re.DOTALL), text


PODS = {
    "out of memory": (
        failed(exit_code=137, exit_reason="OOMKilled"),
        "exit code 137 OOMKilled.*more memory.*resources",
    ),
    "evicted": (
        pod(phase="Failed", reason="Evicted", message="The node was low on resource: ephemeral-storage."),
        r"pod-0 on gpu-0, Evicted\): its node evicted it.*low on resource: ephemeral-storage\).*ephemeral-storage incl",
    ),
    "node lost": (pod(phase="Failed", reason="NodeLost"), "its node is gone"),
    "device trouble": (pod(phase="Failed", reason="UnexpectedAdmissionError"), "devices it was promised"),
    "killed": (failed(exit_code=137), "SIGKILL.*want of memory"),
    "crashed": (failed(exit_code=139), "SIGSEGV.*last checkpoint"),
    "bus error": (failed(exit_code=135), "SIGBUS.*shm_size"),
    "aborted": (failed(exit_code=134), "SIGABRT"),
    "terminated": (failed(exit_code=143), "SIGTERM"),
    "no such command": (failed(exit_code=127), "not in the image"),
    "own error": (failed(exit_code=1), "its own error says why"),
    "rank killed": (failed(exit_code=137, end=NodeEnd(11, -9, 1.0)), "rank 11 failed first .*exit code 137.*SIGKILL"),
}


@pytest.mark.parametrize("case", PODS)
def test_end_of_a_pod(case: str) -> None:
    ended, expected = PODS[case]
    text = explain(ended)
    assert_matches(expected, text)
    assert text.endswith("\nlast words")


LOGS = {
    "GPU memory": ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "micro_batch_size"),
    "Xid": ("NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus.", "hardware error"),
    "ECC": ("CUDA error: uncorrectable ECC error encountered", r"hardware error \(uncorrectable ECC\)"),
    "memlock": ("ibv_reg_mr_iova2 failed with error Cannot allocate memory", "LimitMEMLOCK"),
    "shm": ("OSError: [Errno 28] No space left on device: '/dev/shm/nccl-x'", "shm_size"),
    "volume": ("OSError: [Errno 28] No space left on device: '/mnt/x'", "a volume is full"),
    "import": ("ModuleNotFoundError: No module named 'x'", "the image lacks.*No module named 'x'"),
    "hang": ("Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7)", "a collective operation timed out"),
    "rendezvous": ("torch.distributed.DistStoreError: Timed out after 901 seconds waiting for clients", "find one an"),
    "NCCL": ("NCCL WARN NET/IB : No device found.", "NCCL failed.*NCCL_SOCKET_IFNAME"),
    "NCCL by torch": ("ncclSystemError: System call (e.g. socket, malloc) failed", "NCCL failed"),
    "peer": ("RuntimeError: [gloo/transport/tcp/pair.cc:553] Connection closed by peer", "connection to another rank"),
}


@pytest.mark.parametrize("case", LOGS)
def test_symptom_in_the_log(case: str) -> None:
    line, expected = LOGS[case]
    assert_matches(expected, explain(failed(), log=f"before\n{line}\nafter"))
    end = NodeEnd(3, 1, 1.0, f"Traceback\n{line}")
    assert_matches(expected, explain(failed(end=end), log="CUDA out of memory, but on another rank"))


FIRST = {
    "the earlier": [failed(0, finished=90), failed(1, finished=80)],
    "by the rank's own time, its pod ended last": [
        failed(0, finished=90),
        failed(1, finished=300, end=NodeEnd(9, 1, 60.0, "ValueError")),
    ],
    "its own error before a lost connection": [
        failed(0, finished=80, end=NodeEnd(0, 1, 79.0, "Connection reset by peer")),
        failed(1, finished=90, end=NodeEnd(9, 1, 89.0, "ValueError")),
    ],
    "any other before one that was told to end": [failed(0, 143, finished=80), failed(1, 1, finished=90)],
    "what the cluster did before what ranks say": [
        failed(0, finished=80),
        failed(1, 137, finished=90, exit_reason="OOMKilled"),
    ],
    "a preempted pod before the victims of its peers": [
        failed(0, finished=80),
        failed(1, 143, finished=90, disruption=Condition("PreemptionByScheduler")),
    ],
    "one that ended before one that is only lost": [pod(0, phase="Failed"), failed(1)],
}


@pytest.mark.parametrize("case", FIRST)
def test_first_to_fail(case: str) -> None:
    pods = FIRST[case]
    assert first_to_fail([*pods, pod(2, phase="Running")], {}).node_rank == 1
    assert first_to_fail(pods[::-1], {}).node_rank == 1


def test_victims_are_known_by_their_logs_too() -> None:
    tails = {"uid-0": "Watchdog caught collective operation timeout", "uid-1": "ValueError"}
    assert first_to_fail([failed(0, finished=80), failed(1, finished=90)], tails).node_rank == 1


def test_tail_is_short() -> None:
    text = explain(failed(), log="\n".join(map(str, range(500))))
    assert text.splitlines()[1:] == [str(number) for number in range(500 - TAIL_LINES, 500)]


def test_interruption() -> None:
    assert was_interrupted([failed(0, 75), failed(1, 75)])
    assert not was_interrupted([failed(0, 75), failed(1, 1)])
    assert not was_interrupted([])


WITHOUT_PODS = {
    "deadline": (("DeadlineExceeded", "active longer than specified deadline"), (), "Raise launcher.timeout_seconds"),
    "backoff": (("PyTorchJobFailed", "has reached the specified backoff limit"), (), "backoff_limit allows"),
    "quota": (("PyTorchJobFailed", "x"), ("pods is forbidden: exceeded quota: gpus, requested: 8",), "the quota gpus"),
    "runtime": (("TrainingRuntimeNotSupported", "no such runtime"), (), "launcher.trainjob.runtime"),
    "something else": (("PyTorchJobFailed", "nobody knows"), (), "it failed: nobody knows"),
}


@pytest.mark.parametrize("case", WITHOUT_PODS)
def test_failure_without_pods(case: str) -> None:
    (reason, message), events, expected = WITHOUT_PODS[case]
    job = JobStatus("job", {"Failed": Condition(reason, message)})
    assert_matches(expected, explain(job=job, events=tuple(Event("job", "FailedCreatePod", e) for e in events)))


NEVER = {
    "no such image": (pod(waiting=("ErrImagePull", "manifest unknown")), (), "can't be pulled .*manifest unknown"),
    "pull again": (pod(waiting=("ImagePullBackOff", "Back-off")), (), "launcher.pytorchjob.image"),
    "no secret": (pod(waiting=("CreateContainerConfigError", 'secret "s3" not found')), (), 'secret "s3".*secret_env'),
    "bad image name": (pod(waiting=("InvalidImageName", "")), (), "no valid name"),
    "no claim": (pod(unschedulable='persistentvolumeclaim "ws" not found'), (), "volume claim ws does not exist"),
    "pod security": (pod(), ('violates PodSecurity "restricted:latest": x',), "IPC_LOCK needs"),
    "no account": (pod(), ('serviceaccount "trainer" not found',), "trainer does not exist"),
    "no priority": (pod(), ("no PriorityClass with name high was found",), "high does not exist"),
}


@pytest.mark.parametrize("case", NEVER)
def test_what_waiting_does_not_help(case: str) -> None:
    waiting, events, expected = NEVER[case]
    found = tuple(Event("job", "FailedCreatePod", message) for message in events)
    assert_matches(expected, str(cannot_start([waiting], found)))
    assert why_waiting(JobStatus("job"), [waiting], found) == cannot_start([waiting], found)


MAY_PASS = {
    "queue": (JobStatus("job", suspended=True), pod(), "", "suspended until its queue admits it.*workload"),
    "no GPU": (JobStatus("job"), pod(unschedulable="0/9: 9 Insufficient nvidia.com/gpu."), "", "free nvidia.com/gpu"),
    "labels": (JobStatus("job"), pod(unschedulable="didn't match Pod's node affinity/selector"), "", "node_selector"),
    "taint": (JobStatus("job"), pod(unschedulable="had untolerated taint {a: b}"), "", "tolerations"),
    "spread": (JobStatus("job"), pod(unschedulable="didn't match pod topology spread constraints"), "", "fewer free"),
    "else": (JobStatus("job"), pod(unschedulable="nobody knows"), "", "unschedulable .nobody knows."),
    "quota": (JobStatus("job"), pod(), "exceeded quota: gpus, requested", "quota gpus"),
    "mount": (JobStatus("job"), pod(), "MountVolume.SetUp failed", "FailedMount: MountVolume.SetUp failed"),
    "no image yet": (JobStatus("job"), pod(waiting=("ContainerCreating", "")), "", "None"),
}


@pytest.mark.parametrize("case", MAY_PASS)
def test_what_may_pass(case: str) -> None:
    job, waiting, message, expected = MAY_PASS[case]
    events = [Event("job", "FailedMount", message)] if message else []
    assert cannot_start([waiting], events) is None
    assert_matches(expected, str(why_waiting(job, [waiting], events)))


def test_statuses_are_read_from_the_api() -> None:
    raw = {
        "metadata": {
            "name": "p",
            "uid": "u",
            "labels": {"training.kubeflow.org/replica-type": "worker", "training.kubeflow.org/replica-index": "6"},
        },
        "spec": {"nodeName": "gpu-7"},
        "status": {
            "phase": "Failed",
            "conditions": [
                {"type": "PodScheduled", "status": "True", "message": "old"},
                {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "m"},
            ],
            "initContainerStatuses": [{"name": "init-pytorch", "state": {"terminated": {"exitCode": 0}}}],
            "containerStatuses": [
                {"name": "sidecar", "state": {"terminated": {"exitCode": 3}}},
                {
                    "name": "pytorch",
                    "state": {
                        "terminated": {
                            "exitCode": 137,
                            "reason": "OOMKilled",
                            "finishedAt": "2026-01-01T00:00:10Z",
                            "message": NodeEnd(58, -9, 1.5, "trace").to_message(),
                        }
                    },
                },
            ],
        },
    }
    assert pod_status(raw, PYTORCHJOB) == PodStatus(
        name="p",
        uid="u",
        node_rank=7,
        node="gpu-7",
        phase="Failed",
        disruption=Condition("PreemptionByScheduler", "m"),
        exit_code=137,
        exit_reason="OOMKilled",
        finished=1767225610.0,
        end=NodeEnd(58, -9, 1.5, "trace"),
    )
    waiting = {"name": "init-pytorch", "state": {"waiting": {"reason": "ErrImagePull", "message": "m"}}}
    blocked = {"name": "pytorch", "state": {"waiting": {"reason": "PodInitializing"}}}
    raw["status"] = {"initContainerStatuses": [waiting], "containerStatuses": [blocked]}
    assert pod_status(raw, PYTORCHJOB).waiting == ("ErrImagePull", "m")
    conditions = [{"type": "Running", "status": "False"}, {"type": "Failed", "status": "True", "reason": "r"}]
    job = {"metadata": {"name": "j"}, "spec": {"runPolicy": {"suspend": True}}, "status": {"conditions": conditions}}
    assert job_status(job) == JobStatus("j", {"Failed": Condition("r", "")}, suspended=True)


def test_message_of_a_node_fits_whatever_the_traceback() -> None:
    for trace in ("", "x" * 10_000, "ü\n" * 5_000, '"' * 9_000):
        end = NodeEnd(127, 1, 1767225610.123, trace)
        message = end.to_message()
        assert len(message.encode()) <= MESSAGE_BYTES
        read = NodeEnd.from_message(message)
        assert dataclasses.replace(read, traceback="") == dataclasses.replace(end, traceback="")
        assert trace.endswith(read.traceback)
        assert len(read.traceback) > 400 or read.traceback == trace


@pytest.mark.parametrize("message", ["", "plain words", "{}", '{"rank": 1}', "[1]", "null", "3"])
def test_other_messages_are_no_node_s(message: str) -> None:
    assert NodeEnd.from_message(message) is None
