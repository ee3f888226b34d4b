"""What the cluster says about a job and its pods, read from the API's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from components.platform.launcher.kinds import JobKind
from components.platform.launcher.node import NodeEnd


@dataclass(frozen=True)
class Condition:
    """A true condition of a job or pod; `false` ones tell by their absence, but for `PodScheduled`'s reason."""

    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class JobStatus:
    """A job: its true conditions by type."""

    name: str
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    suspended: bool = False


@dataclass(frozen=True)
class PodStatus:
    """A pod, and the container of its ranks.

    Attributes:
        uid: tells a pod from another one of the same name that took its place.
        node_rank: number of the node among the job's.
        node: machine it runs on, once it is scheduled.
        phase: "Pending", "Running", "Succeeded" or "Failed".
        reason: why the pod failed as a whole, such as "Evicted".
        unschedulable: what the scheduler says as long as it finds no place.
        disruption: condition `DisruptionTarget`: the cluster ends or ended the pod, for its own reasons.
        waiting: (reason, message) of a container that doesn't start, such as "ImagePullBackOff".
        exit_code: of the container, when it has ended.
        exit_reason: such as "OOMKilled" or "Error".
        finished: when it ended, in seconds since the epoch, to the second; 0 if it hasn't.
        end: what the container itself tells about how it ended.
    """

    name: str
    uid: str
    node_rank: int
    node: str = ""
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    unschedulable: str = ""
    disruption: Condition | None = None
    waiting: tuple[str, str] | None = None
    exit_code: int | None = None
    exit_reason: str = ""
    finished: float = 0
    end: NodeEnd | None = None

    @property
    def failed(self) -> bool:
        return self.phase == "Failed" or self.exit_code not in (None, 0)

    @property
    def started(self) -> bool:
        return self.phase in ("Running", "Succeeded", "Failed")


@dataclass(frozen=True)
class Event:
    """An event about the job or one of its pods."""

    about: str
    reason: str
    message: str


def job_status(raw: Mapping[str, Any]) -> JobStatus:
    conditions = (raw.get("status") or {}).get("conditions") or []
    spec = raw.get("spec") or {}
    suspended = spec.get("suspend") or (spec.get("runPolicy") or {}).get("suspend")
    return JobStatus(
        raw["metadata"]["name"],
        {
            entry["type"]: Condition(entry.get("reason") or "", entry.get("message") or "")
            for entry in conditions
            if entry["status"] == "True"
        },
        bool(suspended),
    )


def pod_status(raw: Mapping[str, Any], kind: JobKind) -> PodStatus:
    metadata, status = raw["metadata"], raw.get("status") or {}
    conditions = {entry["type"]: entry for entry in status.get("conditions") or []}
    scheduled, disruption = conditions.get("PodScheduled", {}), conditions.get("DisruptionTarget", {})
    containers = {entry["name"]: entry for entry in status.get("containerStatuses") or []}
    state = (containers.get(kind.container) or {}).get("state") or {}
    # What keeps an init container from starting keeps ours, too
    inits = [(entry.get("state") or {}).get("waiting") for entry in status.get("initContainerStatuses") or []]
    waiting = next((w for w in (*inits, state.get("waiting")) if w and w.get("reason") != "PodInitializing"), None)
    ended = state.get("terminated") or {}
    return PodStatus(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        node_rank=kind.node_rank(metadata.get("labels") or {}),
        node=(raw.get("spec") or {}).get("nodeName") or "",
        phase=status.get("phase", "Pending"),
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        unschedulable=(scheduled.get("message") or "") if scheduled.get("status") == "False" else "",
        disruption=_condition(disruption) if disruption.get("status") == "True" else None,
        waiting=(waiting.get("reason") or "", waiting.get("message") or "") if waiting else None,
        exit_code=ended.get("exitCode"),
        exit_reason=ended.get("reason") or "",
        finished=_seconds(ended.get("finishedAt")),
        end=NodeEnd.from_message(ended.get("message") or ""),
    )


def event(raw: Mapping[str, Any]) -> Event:
    return Event(raw["involvedObject"].get("name", ""), raw.get("reason") or "", raw.get("message") or "")


def _condition(raw: Mapping[str, Any]) -> Condition:
    return Condition(raw.get("reason") or "", raw.get("message") or "")


def _seconds(time: str | None) -> float:
    return datetime.fromisoformat(time).timestamp() if time else 0.0
