"""Reading a log again and again from some second on: no line twice, none lost, whatever their times."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.platform.launcher.logs import LogPosition

SECOND = 10**9


def at(nanoseconds: int) -> str:
    """As containerd and the kubelet write it: trailing zeros may be left out."""
    fraction = f"{nanoseconds % SECOND:09}".rstrip("0")
    return f"2026-01-01T00:00:{nanoseconds // SECOND:02}{'.' if fraction else ''}{fraction}Z"


def answer(log: list[tuple[int, str]], since: str | None) -> list[str]:
    """What the kubelet answers: it knows whole seconds only."""
    begin = -1 if since is None else datetime.fromisoformat(since).second * SECOND
    return [f"{at(when)} {text}" for when, text in log if when >= begin]


# Few texts and times, so that many are equal; of two streams, so a little out of order
LINES = st.lists(st.tuples(st.sampled_from([0, 0, 1, 100_000_000, SECOND, 7 * SECOND // 2]), st.sampled_from("abc")))


@given(LINES, st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12))), st.data())
def test_no_line_twice_and_none_lost(steps: list[tuple[int, str]], reads: list[tuple[int, int]], data: st.DataObject):
    now, log = 10 * SECOND, []
    for step, text in steps:
        now = min(now + step, 50 * SECOND)
        log.append((now - data.draw(st.sampled_from([0, 0, 0, 5_000])), text))
    position, taken = LogPosition(), []
    for written, heard in [*reads, (len(log), len(log) * 2)]:  # so much is written, and heard before it breaks
        for line in answer(log[: max(written, len(taken))], position.reopen())[:heard]:
            if (text := position.take(line)) is not None:
                taken.append(text)
    while len(taken) < len(log):
        before = len(taken)
        taken += [text for line in answer(log, position.reopen()) if (text := position.take(line)) is not None]
        assert len(taken) > before
    assert taken == [text for _, text in log]


def test_times_of_a_node_in_another_zone() -> None:
    position = LogPosition()
    assert position.reopen() is None
    assert position.take("2026-01-01T01:00:05.12+01:00 a b  c") == "a b  c"
    assert position.reopen() == "2026-01-01T00:00:04Z"
    assert position.take("2026-01-01T01:00:05.12+01:00 a b  c") is None
    assert position.take("2026-01-01T01:00:05.12+01:00 a b  c") == "a b  c"


@pytest.mark.parametrize("line", ["failed to create fsnotify watcher: too many open files", "", "2026-13-01 x"])
def test_lines_of_the_kubelet_itself(line: str) -> None:
    assert LogPosition().take(line) == line


def test_memory_is_bounded() -> None:
    position = LogPosition()
    for second in range(10, 59):
        for _ in range(10):
            position.take(f"2026-01-01T00:00:{second}Z line")
    assert len(position._last) == 20
