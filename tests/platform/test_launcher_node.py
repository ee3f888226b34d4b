"""What the pod of a node runs, with real ranks: its exit code and its message tell how they ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.platform.launcher.node import NodeEnd, first_to_fail
from components.platform.launcher.rank import RankReport

WORKER = """
import os, pathlib, signal, sys, time
mode, folder, rank = sys.argv[1], pathlib.Path(sys.argv[2]), os.environ["RANK"]
if mode == "save":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
(folder / f"ready-{rank}").touch()
print("half a", end=" ")
print("line of", rank, flush=True)
if mode == "leave":
    sys.exit(75)
if mode == "fail" and rank == "1":
    raise ValueError("the moon")
if mode != "end":
    time.sleep(600)
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "pod_worker.py").write_text(WORKER)
    variables = {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())]),
        "PET_STANDALONE": "1",
        "PET_NPROC_PER_NODE": "2",
        "PET_SHUTDOWN_TIMEOUT": "5",
        "MEDITRON_TERMINATION_LOG": str(tmp_path / "message"),
    }

    def start_node(mode: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "components.platform.launcher.node", "pod_worker", mode, str(tmp_path)],
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start_node


def message(folder: Path) -> NodeEnd | None:
    path = folder / "message"
    return NodeEnd.from_message(path.read_text()) if path.exists() else None


@pytest.mark.slow
def test_success_is_silent(start, tmp_path: Path) -> None:
    node = start("end")
    output, errors = node.communicate(timeout=60)
    assert node.returncode == 0, errors
    assert sorted(output.splitlines()) == ["[rank 1] half a line of 1", "half a line of 0"]
    assert message(tmp_path) is None


@pytest.mark.slow
def test_failure(start, tmp_path: Path) -> None:
    before = time.time()
    node = start("fail")
    errors = node.communicate(timeout=60)[1]
    assert node.returncode == 1
    assert "[rank 1] ValueError: the moon" in errors
    end = message(tmp_path)
    assert (end.rank, end.exit_code) == (1, 1)
    assert before < end.ended < time.time()
    assert end.traceback.rstrip().endswith("ValueError: the moon")


@pytest.mark.slow
def test_ranks_that_leave_with_a_checkpoint(start, tmp_path: Path) -> None:
    node = start("leave")
    node.communicate(timeout=60)
    assert node.returncode == 75
    assert message(tmp_path) is None


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "expected"), [("save", 75), ("sleep", 143)])
def test_pod_that_is_told_to_end(start, tmp_path: Path, mode: str, expected: int) -> None:
    node = start(mode)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("ready-*"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    node.send_signal(signal.SIGTERM)
    node.communicate(timeout=30)
    assert node.returncode == expected


def report(rank: int, exit_code: int = 1, ended: float = 1.0) -> RankReport:
    return RankReport(rank, exit_code, ended, f"trace of {rank}")


def test_first_to_fail_among_the_ranks_of_a_node() -> None:
    reports = [report(2, 75), report(1), report(0)]
    assert first_to_fail({0: (1, 5.0), 1: (1, 5.0)}, reports) == NodeEnd(1, 1, 1.0, "trace of 1")
    killed = {0: (1, 5.0), 3: (-9, 5.0), 4: (-15, 5.0), 5: (-9, 9.0)}  # the last by torchrun, after the grace period
    assert first_to_fail(killed, reports) == NodeEnd(3, -9, 5.0)
    assert first_to_fail({1: (1, 5.0), 5: (-9, 9.0)}, reports).rank == 1
    assert first_to_fail({0: (75, 5.0), 1: (-15, 5.0)}, [report(0, 75)]) is None
