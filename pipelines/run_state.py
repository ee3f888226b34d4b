"""How far a run is: the tasks of the DAG, each with its state and times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from typing import Any

PENDING, RUNNING, SUCCEEDED, SKIPPED, FAILED, CANCELED = (
    "PENDING",
    "RUNNING",
    "SUCCEEDED",
    "SKIPPED",
    "FAILED",
    "CANCELED",
)
ENDED = frozenset({SUCCEEDED, SKIPPED, FAILED, CANCELED})
_MOST_TELLING_FIRST = (FAILED, CANCELED, "CANCELING", RUNNING, "PAUSED", PENDING)


@dataclass(frozen=True)
class Node:
    """What KFP says of one node of the workflow; a task that is started several times side by side has several."""

    name: str
    state: str
    start: datetime | None = None
    end: datetime | None = None
    error: str = ""


@dataclass(frozen=True)
class Task:
    """One step of the DAG, all its nodes taken together.

    Attributes:
        ended: how many of its `count` nodes have ended.
    """

    name: str
    state: str
    start: datetime | None = None
    end: datetime | None = None
    error: str = ""
    ended: int = 0
    count: int = 1

    def seconds(self, now: datetime) -> float | None:
        """How long it has taken so far; None before it starts."""
        return None if self.start is None else ((self.end or now) - self.start).total_seconds()


@dataclass(frozen=True)
class Run:
    """One run of a pipeline, as KFP tells of it."""

    id: str
    name: str
    state: str
    start: datetime | None
    end: datetime | None
    error: str = ""
    tasks: tuple[Task, ...] = ()

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    def seconds(self, now: datetime) -> float:
        return 0.0 if self.start is None else ((self.end or now) - self.start).total_seconds()


def task_names(pipeline_spec: Mapping[str, Any]) -> list[str]:
    """The steps of a compiled pipeline in an order in which they can run; those of pipelines inside it, too."""
    return list(_names(pipeline_spec, pipeline_spec["root"]["dag"]["tasks"]))


def _names(spec: Mapping[str, Any], tasks: Mapping[str, Any]) -> Iterator[str]:
    order = TopologicalSorter({name: task.get("dependentTasks", []) for name, task in sorted(tasks.items())})
    for name in order.static_order():
        component = spec["components"][tasks[name]["componentRef"]["name"]]
        if "dag" in component:
            yield from _names(spec, component["dag"]["tasks"])
        else:
            yield name


def gathered(names: Sequence[str], nodes: Sequence[Node]) -> tuple[Task, ...]:
    """The state of each step. KFP's helper nodes (drivers, loops, executors) are left out: they have other names."""
    return tuple(_gathered(name, [node for node in nodes if node.name == name]) for name in names)


def _gathered(name: str, nodes: Sequence[Node]) -> Task:
    if not nodes:
        return Task(name, PENDING)
    states = {node.state for node in nodes}
    starts = [node.start for node in nodes if node.start]
    ends = [node.end for node in nodes if node.end]
    ended = sum(node.state in ENDED for node in nodes)
    return Task(
        name,
        state=next((state for state in _MOST_TELLING_FIRST if state in states), nodes[0].state),
        start=min(starts, default=None),
        end=max(ends) if ended == len(nodes) and ends else None,
        error=next((node.error for node in nodes if node.error), ""),
        ended=ended,
        count=len(nodes),
    )


def real_time(time: datetime | None) -> datetime | None:
    """KFP sends 1970 for what has not happened yet."""
    return None if time is None or time.year <= 1970 else time.astimezone(UTC)


def duration(seconds: float) -> str:
    """Such as "42 s", "3 min 5 s", "2 h 10 min", "3 d 4 h"; "0 s" where the clocks of two machines disagree."""
    whole = max(0, round(seconds))
    for unit, part, size in (("d", "h", 86400), ("h", "min", 3600), ("min", "s", 60)):
        if whole >= size:
            rest = whole % size // {"h": 3600, "min": 60, "s": 1}[part]
            return f"{whole // size} {unit} {rest} {part}"
    return f"{whole} s"
