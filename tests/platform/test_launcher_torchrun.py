"""The local launcher with real ranks: every way in which a job ends, and that no process is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.platform.errors import SettingsError
from components.platform.launcher import JobSpec, LaunchError, LaunchInterrupted, launch
from components.platform.launcher.settings import LauncherSettings

pytestmark = pytest.mark.slow

WORKER = """
import os, pathlib, signal, subprocess, sys, time

mode, folder = sys.argv[1], pathlib.Path(sys.argv[2])
rank = int(os.environ["RANK"])
(folder / f"{os.getpid()}.pid").touch()

def save(*_):
    time.sleep(0.2)
    (folder / f"saved-{rank}").touch()
    sys.exit(75)

if mode == "checkpoint":
    signal.signal(signal.SIGTERM, save)
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    (folder / f"{child.pid}.pid").touch()
(folder / f"ready-{rank}").touch()

if mode == "print":
    print("rank", rank, *(os.environ[name] for name in ("WORLD_SIZE", "OMP_NUM_THREADS", "COLOUR")), *sys.argv[3:])
elif mode == "fail":
    if rank == 1:
        raise ValueError("the moon is made of cheese")
    time.sleep(600)
elif mode == "killed":
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    while not (folder / "ready-1").exists():
        time.sleep(0.01)
    time.sleep(0.05)
    raise ConnectionError("rank 1 went away")
else:
    time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds the worker module and where ranks leave their marks; nothing may run when the test ends."""
    (tmp_path / "launched_worker.py").write_text(WORKER)
    paths = [str(tmp_path), str(Path.cwd()), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    yield tmp_path
    deadline = time.monotonic() + 10
    while (left := [pid for pid in pids(tmp_path) if alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert pids(tmp_path), "no rank has run"
    assert not left, "stray processes"


def pids(folder: Path) -> list[int]:
    return [int(path.stem) for path in folder.glob("*.pid")]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def job(folder: Path, mode: str, *args: str) -> JobSpec:
    return JobSpec("test", "launched_worker", (mode, str(folder), *args), nproc_per_node=2, env={"COLOUR": "blue"})


LAUNCHER = """
import sys
from components.platform.launcher import JobSpec, LaunchError, LaunchInterrupted, launch
from components.platform.launcher.settings import LauncherSettings

mode, folder = sys.argv[1:]
try:
    launch(JobSpec("test", "launched_worker", (mode, folder), nproc_per_node=2), LauncherSettings(grace_seconds=2))
except LaunchInterrupted as error:
    sys.exit(f"INTERRUPTED {error}")
except LaunchError as error:
    sys.exit(f"FAILED {error}")
"""


def start_launcher(folder: Path, mode: str) -> subprocess.Popen[str]:
    """A launcher in a process of its own, returned when both ranks are ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, mode, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while len(list(folder.glob("ready-*"))) < 2:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def test_output_is_streamed_and_environment_is_passed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launch(job(folder, "print", "--flag", "value with spaces"), LauncherSettings())
    lines = capsys.readouterr().out.splitlines()
    assert "rank 0 2 1 blue --flag value with spaces" in lines
    assert "[rank 1] rank 1 2 1 blue --flag value with spaces" in lines, "only rank 0's lines are without their rank"


def test_failing_rank_is_named_with_its_traceback(folder: Path) -> None:
    with pytest.raises(LaunchError) as caught:
        launch(job(folder, "fail"), LauncherSettings(grace_seconds=2))
    message = str(caught.value)
    assert "test: rank 1 failed (exit code 1)" in message
    assert message.endswith("ValueError: the moon is made of cheese")
    assert not isinstance(caught.value, LaunchInterrupted)


def test_killed_rank_is_named_rather_than_its_complaining_peers(folder: Path) -> None:
    with pytest.raises(LaunchError, match="rank 1 was killed by SIGKILL"):
        launch(job(folder, "killed"), LauncherSettings())


def test_timeout(folder: Path) -> None:
    with pytest.raises(LaunchError, match="ran longer than launcher.timeout_seconds=8"):
        launch(job(folder, "sleep"), LauncherSettings(timeout_seconds=8, grace_seconds=1))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_lets_ranks_save_a_checkpoint(folder: Path, number: signal.Signals) -> None:
    launcher = start_launcher(folder, "checkpoint")
    launcher.send_signal(number)
    launcher.send_signal(number)  # impatience must not cost the checkpoint
    errors = launcher.communicate(timeout=30)[1]
    assert f"INTERRUPTED test stopped because it got {number.name}" in errors
    assert len(list(folder.glob("saved-*"))) == 2


def test_ranks_that_do_not_save_are_told_so(folder: Path) -> None:
    launcher = start_launcher(folder, "sleep")
    launcher.terminate()
    assert "before its ranks saved a checkpoint" in launcher.communicate(timeout=30)[1]


def test_stubborn_ranks_and_their_children_are_killed_after_the_grace_period(folder: Path) -> None:
    launcher = start_launcher(folder, "stubborn")
    assert len(pids(folder)) == 4
    launcher.terminate()
    assert "FAILED" in launcher.communicate(timeout=30)[1]
    assert not any(alive(pid) for pid in pids(folder))


def test_ranks_save_and_die_when_the_launcher_is_killed(folder: Path) -> None:
    launcher = start_launcher(folder, "checkpoint")
    launcher.kill()
    launcher.communicate(timeout=30)
    deadline = time.monotonic() + 15
    while any(alive(pid) for pid in pids(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in pids(folder))
    assert len(list(folder.glob("saved-*"))) == 2


def test_several_nodes_need_a_cluster(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="kind: pytorchjob"):
        launch(JobSpec("test", "os", (), nproc_per_node=1, nnodes=2), LauncherSettings())
