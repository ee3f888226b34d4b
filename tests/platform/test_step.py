"""A step's end in MLflow: its own run's, and that of the pipeline's run, which on a cluster nobody else closes."""

import pytest

from components.platform.errors import InputError
from components.platform.launcher import LaunchInterrupted
from components.platform.settings import Settings
from components.platform.step import PlainStep, Step
from components.platform.tracking.tracker import Tracker


class Nothing(Settings):
    """No settings."""


@pytest.fixture
def step(platform, monkeypatch):
    """Makes a step: step(Step, "sft")."""
    monkeypatch.setenv("KFP_RUN_ID", "run-1")
    monkeypatch.setattr("components.platform.step.die_with_parent", lambda number: None)
    return lambda kind, name: kind(name, Nothing, "{}", platform.model_dump_json())


@pytest.fixture
def status(platform):
    tracker = Tracker(platform)
    return lambda: tracker.client.get_run(tracker.parent_run()).info.status


@pytest.mark.parametrize("kind", [Step, PlainStep])
@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (ValueError(), "FAILED"),
        (InputError("no such file"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (LaunchInterrupted("a checkpoint is saved"), "KILLED"),
    ],
)
def test_a_step_that_fails_closes_the_pipelines_run(step, status, kind, error, ends):
    with pytest.raises((type(error), SystemExit)), step(kind, "sft"):
        raise error
    assert status() == ends


def test_the_next_try_opens_it_and_the_last_step_closes_it(step, status):
    with pytest.raises(ValueError), step(Step, "sft"):
        raise ValueError
    with step(Step, "sft"):
        assert status() == "RUNNING"
    assert status() == "RUNNING"
    with step(Step, "register") as last:
        last.end_pipeline()
    assert status() == "FINISHED"


def test_a_run_of_kfps_plugin_is_left_to_it(step, status, monkeypatch, platform):
    given = Tracker(platform).parent_run()
    monkeypatch.setenv("MLFLOW_RUN_ID", given)
    with step(Step, "register") as last:
        last.end_pipeline()
    assert Tracker(platform).client.get_run(given).info.status == "RUNNING"


def test_the_users_errors_come_without_a_traceback(step, capsys):
    with pytest.raises(SystemExit), step(PlainStep, "corpus"):
        raise InputError("corpus.jsonl:3: expected a text")
    assert capsys.readouterr().out.endswith("corpus  error: corpus.jsonl:3: expected a text\n")
