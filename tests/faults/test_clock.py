"""A clock that is set while a run goes on: nothing times out, rates stay right, and records are kept."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

import pytest

from components.platform.launcher.job import JobSpec, LaunchError
from components.platform.launcher.settings import LauncherSettings
from components.platform.launcher.torchrun import run_torchrun
from components.platform.progress import Progress
from components.platform.tracking.runs import stage_run
from components.platform.tracking.tracker import Tracker
from components.training.signals import StopRequest
from pipelines.run_state import duration

DAY = 86400.0


@pytest.fixture
def set_clock(monkeypatch) -> Callable[[float], None]:
    """Puts the clock of this process forward by so many seconds, or back; the monotonic clock goes on."""
    clock, clock_ns, offset = time.time, time.time_ns, 0.0

    def set_forward(seconds: float) -> None:
        nonlocal offset
        offset += seconds

    monkeypatch.setattr(time, "time", lambda: clock() + offset)
    monkeypatch.setattr(time, "time_ns", lambda: clock_ns() + int(offset * 1e9))
    return set_forward


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_progress(capsys, set_clock, jump):
    with Progress("pretrain", 10, "iterations") as progress:
        set_clock(jump)
        progress.update(10)
    assert capsys.readouterr().out.rstrip().endswith("took 0:00")


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_job_neither_runs_out_of_time_nor_for_ever(tmp_path, monkeypatch, set_clock, jump):
    (tmp_path / "sleeper.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path)}")
    threading.Timer(1, set_clock, [jump]).start()
    begun = time.monotonic()
    with pytest.raises(LaunchError, match="it ran longer than launcher.timeout_seconds=5"):
        run_torchrun(JobSpec("job", "sleeper", (), nproc_per_node=1), LauncherSettings(timeout_seconds=5))
    assert time.monotonic() - begun >= 5


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_pause_comes_when_it_should(set_clock, jump):
    stop = StopRequest()
    stop.expire_after(60)
    set_clock(jump)
    assert not stop.is_expired


@pytest.mark.slow
def test_records(platform, set_clock):
    """A run may end before it began; all that was measured is there, once, and the last step counts as the last."""
    with stage_run(platform, "pretrain", {}) as run:
        for step, jump in enumerate([0, DAY, -2 * DAY, DAY]):
            set_clock(jump)
            run.log_metrics({"loss": 8.0 - step}, step)
        set_clock(-DAY)
    client = Tracker(platform).client
    ended = client.get_run(run.run_id)
    assert ended.info.status == "FINISHED"
    assert ended.info.end_time < ended.info.start_time
    assert ended.data.metrics == {"loss": 5.0}
    assert sorted(point.step for point in client.get_metric_history(run.run_id, "loss")) == [0, 1, 2, 3]


def test_clocks_of_two_machines():
    assert duration(-3) == "0 s"
