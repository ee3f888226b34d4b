"""Why a job fails or does not start: from what the cluster says and the ends of the logs to one cause and a remedy.

Only the first failing rank matters: the others die of it, by SIGTERM, a closed connection or NCCL's timeout.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.platform.launcher import symptoms
from components.platform.launcher.job import INTERRUPTED_EXIT_CODE
from components.platform.launcher.status import Event, JobStatus, PodStatus

TAIL_LINES = 50

# How ranks word it that another one is gone
_OF_OTHERS = re.compile(
    r"Connection (?:closed|reset) by peer|Broken pipe|collective operation timeout|remote process exited|"
    r"ncclRemoteError|NCCL communicator was aborted|DistNetworkError|Timed out waiting|waiting for clients"
)


@dataclass(frozen=True)
class Diagnosis:
    """One cause, without a full stop, and what to do about it."""

    cause: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.cause}. {self.remedy}".rstrip()


def was_interrupted(pods: Sequence[PodStatus]) -> bool:
    """Whether the ranks ended because they were asked to, with a checkpoint saved."""
    return {pod.exit_code for pod in pods if pod.failed} == {INTERRUPTED_EXIT_CODE}


def explain_failure(
    job: JobStatus, failed: str, pods: Sequence[PodStatus], events: Sequence[Event], tails: Mapping[str, str]
) -> str:
    """The message of a failed job: who failed first and why, what to do, and the end of what it wrote.

    Args:
        failed: type of the condition that says so.
        pods: all that were seen, those included that are gone.
        tails: pod's uid → the end of its log.
    """
    pod = first_to_fail(pods, tails)
    if pod is None:
        return f"it failed: {_without_pods(job, failed, events)}"
    end = "\n".join(_own_words(pod, tails).rstrip().splitlines()[-TAIL_LINES:])
    who = f"rank {pod.end.rank}" if pod.end is not None else f"node {pod.node_rank}"
    where = f"pod {pod.name}" + (f" on {pod.node}" if pod.node else "")
    return f"{who} failed first ({where}{_exit(pod)}): {_explain_end(pod, tails)}\n{end}".rstrip()


def first_to_fail(pods: Sequence[PodStatus], tails: Mapping[str, str]) -> PodStatus | None:
    """The pod that the others failed because of.

    The cluster's own doing goes before what the ranks say, and what a rank says of itself before what it says of
    others. A pod may end long after its rank failed, with the others' grace period in between: where the rank's own
    time is known, that counts.
    """

    def order(pod: PodStatus) -> tuple[int, float, int]:
        by_cluster = pod.disruption is not None or pod.exit_reason == "OOMKilled" or pod.reason in symptoms.POD_REASON
        because_of_others = pod.exit_code in (128 + signal.SIGTERM, INTERRUPTED_EXIT_CODE) or bool(
            _OF_OTHERS.search(
                pod.end.traceback if pod.end is not None and pod.end.traceback else tails.get(pod.uid, "")
            )
        )
        when = pod.end.ended if pod.end is not None else pod.finished or float("inf")
        return 0 if by_cluster else 2 if because_of_others else 1, when, pod.node_rank

    return min((pod for pod in pods if pod.failed), key=order, default=None)


def cannot_start(pods: Sequence[PodStatus], events: Sequence[Event]) -> Diagnosis | None:
    """What keeps the job from ever starting, unless somebody puts it right; None when waiting may help."""
    for pod in pods:
        if pod.waiting is not None and pod.waiting[0] in symptoms.WAITING:
            cause, remedy = symptoms.WAITING[pod.waiting[0]]
            return Diagnosis(f"pod {pod.name}: {cause}{_quoted(': '.join(filter(None, pod.waiting)))}", remedy)
        if (found := symptoms.find(symptoms.UNSCHEDULABLE[:1], pod.unschedulable)) is not None:
            return Diagnosis(*found)
    for event in events:
        if (found := symptoms.find(symptoms.EVENT[1:], event.message)) is not None:
            return Diagnosis(*found)
    return None


def why_waiting(job: JobStatus, pods: Sequence[PodStatus], events: Sequence[Event]) -> Diagnosis | None:
    """Why the pods don't run yet, if the cluster says so."""
    if (never := cannot_start(pods, events)) is not None:
        return never
    if job.suspended:
        remedy = "`kubectl describe workload` tells what its queue lacks: quota, or a resource that it doesn't cover."
        return Diagnosis("suspended until its queue admits it", remedy)
    for pod in pods:
        if pod.unschedulable:
            cause, remedy = symptoms.find(symptoms.UNSCHEDULABLE, pod.unschedulable) or ("unschedulable", "")
            return Diagnosis(f"{cause}{_quoted(pod.unschedulable)}", remedy)
    for event in events:
        if (found := symptoms.find(symptoms.EVENT, event.message)) is not None:
            return Diagnosis(*found)
        if event.reason in ("FailedMount", "FailedCreatePod", "FailedCreate"):
            return Diagnosis(f"{event.reason}: {event.message}")
    return None


def _without_pods(job: JobStatus, failed: str, events: Sequence[Event]) -> Diagnosis:
    condition = job.conditions[failed]
    text = f"{condition.reason}: {condition.message}"
    found = symptoms.find(symptoms.JOB, text)
    for event in events:
        found = found or symptoms.find(symptoms.EVENT, event.message)
    return Diagnosis(f"{found[0]}{_quoted(condition.message)}", found[1]) if found else Diagnosis(condition.message)


def _own_words(pod: PodStatus, tails: Mapping[str, str]) -> str:
    """The traceback of the pod's first failing rank, else the end of the log of all its ranks."""
    return (pod.end.traceback if pod.end is not None else "") or tails.get(pod.uid, "")


def _explain_end(pod: PodStatus, tails: Mapping[str, str]) -> Diagnosis:
    """Why a pod ended; what is certain goes before what its log makes likely."""
    if pod.disruption is not None:
        cause, remedy = symptoms.DISRUPTION.get(pod.disruption.reason, ("the cluster ended it", symptoms.RESUME))
        return Diagnosis(f"{cause}{_quoted(pod.disruption.message)}", remedy)
    if pod.reason in symptoms.POD_REASON:
        cause, remedy = symptoms.POD_REASON[pod.reason]
        return Diagnosis(f"{cause}{_quoted(pod.message)}", remedy)
    if pod.exit_reason == "OOMKilled":
        return Diagnosis(*symptoms.OUT_OF_MEMORY)
    found = (
        symptoms.find(symptoms.LOG, _own_words(pod, tails))
        or symptoms.find(symptoms.LOG, tails.get(pod.uid, ""))
        or symptoms.EXIT_CODE.get(pod.exit_code or 0)
    )
    return Diagnosis(*found) if found else Diagnosis("its own error says why")


def _exit(pod: PodStatus) -> str:
    if pod.exit_code is None:
        return f", {pod.reason}" if pod.reason else ""
    reason = f" {pod.exit_reason}" if pod.exit_reason not in ("", "Error") else ""
    return f", exit code {pod.exit_code}{reason}"


def _quoted(message: str) -> str:
    return f" ({message.strip().rstrip('.')})" if message.strip() else ""
