"""What a stage records in its MLflow run. A stage that is run again finds its own run and goes on in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from components.platform.context import PlatformSettings
from components.platform.launcher import LaunchInterrupted
from components.platform.tracking.tracker import Tracker

PARAM_LENGTH = 6000  # MLflow's limit for one parameter's value
METRICS_PER_BATCH = 1000  # MLflow's limit for one log-batch request


class StageRun:
    """What one stage records."""

    def __init__(self, tracker: Tracker, run_id: str) -> None:
        self.tracker, self.run_id = tracker, run_id
        self._client = tracker.client

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record settings; nested ones get dotted names. Values that are already there stay (a stage may rerun)."""
        from mlflow.entities import Param

        known = self._client.get_run(self.run_id).data.params
        flat = {key: str(value)[:PARAM_LENGTH] for key, value in _flatten(params).items()}
        self._client.log_batch(self.run_id, params=[Param(k, v) for k, v in flat.items() if k not in known])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        self.log_history([dict(metrics) | {"iteration": step}])

    def log_history(self, rows: list[dict[str, float]]) -> None:
        """Record metric curves; each row holds an `iteration` and the values measured there."""
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(key, float(value), now, int(row.get("iteration", 0)))
            for row in rows
            for key, value in row.items()
            if key != "iteration" and isinstance(value, int | float)
        ]
        for start in range(0, len(metrics), METRICS_PER_BATCH):
            self._client.log_batch(self.run_id, metrics=metrics[start : start + METRICS_PER_BATCH])

    def log_artifact(self, path: Path | str) -> None:
        self._client.log_artifact(self.run_id, str(path))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_tag(self.run_id, key, value)


@contextmanager
def stage_run(platform: PlatformSettings, stage: str, params: Mapping[str, Any]) -> Iterator[StageRun]:
    """The stage's MLflow run, closed as FINISHED, FAILED (an error) or KILLED (told to stop)."""
    tracker = Tracker(platform)
    run = StageRun(tracker, tracker.stage_run(stage))
    tracker.client.update_run(run.run_id, status="RUNNING")
    run.log_params(params)
    status = "FINISHED"
    try:
        yield run
    except BaseException as error:
        stopped = isinstance(error, LaunchInterrupted) or not isinstance(error, Exception)
        status = "KILLED" if stopped else "FAILED"
        raise
    finally:
        tracker.client.set_terminated(run.run_id, status)


def finish_pipeline(platform: PlatformSettings, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
    """Close the parent run of the pipeline."""
    tracker = Tracker(platform)
    tracker.client.set_terminated(tracker.parent_run(), status)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
