"""Nodes of the workflow are gathered into steps of the DAG."""

from datetime import UTC, datetime, timedelta

import pytest

from pipelines.following import describe
from pipelines.run_state import Node, duration, gathered, real_time

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (["SUCCEEDED", "SUCCEEDED"], "SUCCEEDED"),
        (["SUCCEEDED", "RUNNING"], "RUNNING"),
        (["SUCCEEDED", "PENDING"], "PENDING"),
        (["RUNNING", "FAILED"], "FAILED"),
        (["CANCELED", "RUNNING"], "CANCELED"),
        (["SKIPPED"], "SKIPPED"),
    ],
)
def test_a_step_of_several_nodes_has_the_most_telling_state(states, state):
    [task] = gathered(["a"], [Node("a", node) for node in states])
    assert task.state == state


def test_a_step_lasts_from_its_first_node_to_its_last():
    nodes = [Node("a", "SUCCEEDED", at(5), at(9)), Node("a", "SUCCEEDED", at(2), at(30)), Node("b", "RUNNING", at(1))]
    a, c = gathered(["a", "c"], nodes)
    assert (a.start, a.end, a.seconds(at(99))) == (at(2), at(30), 28)
    assert (c.state, c.seconds(at(99))) == ("PENDING", None)
    assert describe(a, at(99)) == "succeeded in 28 s"
    assert describe(c, at(99)) == "waiting"


def test_a_step_has_no_end_while_a_node_of_it_runs():
    [task] = gathered(["a"], [Node("a", "SUCCEEDED", at(5), at(9)), Node("a", "RUNNING", at(6))])
    assert task.end is None
    assert task.seconds(at(105)) == 100
    assert describe(task, at(105)) == describe(task, at(500)) == "running, 1 of 2 done"


def test_a_failed_step_tells_why():
    [task] = gathered(["a"], [Node("a", "FAILED", at(0), at(61), "out of memory")])
    assert describe(task, at(99)) == "failed in 1 min 1 s: out of memory"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (7200 + 300, "2 h 5 min"), (3 * 86400 + 7200, "3 d 2 h")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_what_has_not_happened_has_no_time():
    assert real_time(datetime(1970, 1, 1, tzinfo=UTC)) is None
    assert real_time(START) == START
