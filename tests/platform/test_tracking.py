"""MLflow on SQLite: one parent, a child per stage, found again when a stage reruns."""

import pytest

from components.platform.launcher import LaunchInterrupted
from components.platform.tracking.runs import finish_pipeline, stage_run
from components.platform.tracking.tracker import Tracker


@pytest.fixture(autouse=True)
def run_id(monkeypatch):
    monkeypatch.setenv("KFP_RUN_ID", "run-1")


def test_parent_child_params_and_curves(platform):
    with stage_run(platform, "pretrain", {"lr": 3e-4, "layout": {"tp": 2}}) as run:
        run.log_history([{"iteration": i, "loss": 8.0 - i} for i in range(3)])
    tracker = Tracker(platform)
    child = tracker.client.get_run(run.run_id)
    assert child.data.params == {"lr": "0.0003", "layout.tp": "2"}
    assert child.info.status == "FINISHED"
    assert child.data.tags["mlflow.parentRunId"] == tracker.parent_run()
    assert [m.value for m in tracker.client.get_metric_history(run.run_id, "loss")] == [8.0, 7.0, 6.0]


def test_rerun_goes_on_in_the_same_run_and_keeps_params(platform):
    with pytest.raises(ValueError), stage_run(platform, "sft", {"lr": 1}) as first:
        raise ValueError
    assert Tracker(platform).client.get_run(first.run_id).info.status == "FAILED"
    with stage_run(platform, "sft", {"lr": 2, "new": 3}) as second:
        pass
    assert second.run_id == first.run_id
    assert Tracker(platform).client.get_run(first.run_id).data.params == {"lr": "1", "new": "3"}


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), LaunchInterrupted("a checkpoint is saved")])
def test_interrupted_run_is_killed_not_left_running(platform, stop):
    with pytest.raises(type(stop)), stage_run(platform, "sft", {}) as run:
        raise stop
    assert Tracker(platform).client.get_run(run.run_id).info.status == "KILLED"


def test_two_pipeline_runs_are_two_parents(platform, monkeypatch):
    first = Tracker(platform).parent_run()
    finish_pipeline(platform, "FINISHED")
    monkeypatch.setenv("KFP_RUN_ID", "run-2")
    assert Tracker(platform).parent_run() != first
    assert Tracker(platform).client.get_run(first).info.status == "FINISHED"
