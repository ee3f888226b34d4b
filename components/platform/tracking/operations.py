"""What can be told to MLflow about a run: one function each, with arguments that can be kept as JSON.

Each may be done again without changing anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from components.platform.manifest import Manifest
from components.platform.tracking import datasets, logged_models

if TYPE_CHECKING:
    from components.platform.tracking.runs import StageRun

PARAM_LENGTH = 6000  # MLflow's limit for one parameter's value
METRICS_PER_BATCH = 1000  # MLflow's limit for one log-batch request


def begin(run: StageRun) -> None:
    run.tracker.client.update_run(run.run_id, status="RUNNING")


def params(run: StageRun, values: Mapping[str, str]) -> None:
    """Values that are already there stay: a stage may rerun."""
    from mlflow.entities import Param

    known = run.tracker.client.get_run(run.run_id).data.params
    new = [Param(key, value[:PARAM_LENGTH]) for key, value in values.items() if key not in known]
    run.tracker.client.log_batch(run.run_id, params=new)


def metrics(run: StageRun, rows: list[Mapping[str, float]], time: int) -> None:
    """Curves; each row has an `iteration` and the values measured there. `time` in milliseconds."""
    from mlflow.entities import Metric

    points = [
        Metric(key, float(value), time, int(row.get("iteration", 0)))
        for row in rows
        for key, value in row.items()
        if key != "iteration" and isinstance(value, int | float)
    ]
    for start in range(0, len(points), METRICS_PER_BATCH):
        run.tracker.client.log_batch(run.run_id, metrics=points[start : start + METRICS_PER_BATCH])


def artifact(run: StageRun, path: str) -> None:
    run.tracker.client.log_artifact(run.run_id, path)


def tags(run: StageRun, values: Mapping[str, str]) -> None:
    for key, value in values.items():
        run.tracker.client.set_tag(run.run_id, key, value)


def end(run: StageRun, status: str, time: int) -> None:
    """`time` in milliseconds."""
    run.tracker.client.set_terminated(run.run_id, status, end_time=time)


def dataset(run: StageRun, corpus: dict[str, Any], context: str) -> None:
    datasets.log_dataset(run, Manifest.of_record(corpus), context)


def input_model(run: StageRun, model: dict[str, Any]) -> None:
    logged_models.log_input_model(run, Manifest.of_record(model))


def output_model(run: StageRun, model: dict[str, Any]) -> None:
    logged_models.log_output_model(run, Manifest.of_record(model))


def base_model(run: StageRun, pretrained: dict[str, Any]) -> None:
    logged_models.log_base_model(run, Manifest.of_record(pretrained))


def scores(run: StageRun, model: dict[str, Any], values: Mapping[str, float], time: int) -> None:
    """`time` in milliseconds."""
    logged_models.log_scores(run, Manifest.of_record(model), values, time)


OPERATIONS: dict[str, Callable[..., None]] = {
    function.__name__: function
    for function in (
        *(begin, params, metrics, artifact, tags, end),
        *(dataset, input_model, output_model, base_model, scores),
    )
}
