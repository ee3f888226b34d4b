"""What can be told to MLflow about a run: one function each, with arguments that can be kept as JSON.

Each may be done again without changing anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

PARAM_LENGTH = 6000  # MLflow's limit for one parameter's value
METRICS_PER_BATCH = 1000  # MLflow's limit for one log-batch request


def begin(client: MlflowClient, run_id: str) -> None:
    client.update_run(run_id, status="RUNNING")


def params(client: MlflowClient, run_id: str, values: Mapping[str, str]) -> None:
    """Values that are already there stay: a stage may rerun."""
    from mlflow.entities import Param

    known = client.get_run(run_id).data.params
    new = [Param(key, value[:PARAM_LENGTH]) for key, value in values.items() if key not in known]
    client.log_batch(run_id, params=new)


def metrics(client: MlflowClient, run_id: str, rows: list[Mapping[str, float]], time: int) -> None:
    """Curves; each row has an `iteration` and the values measured there. `time` in milliseconds."""
    from mlflow.entities import Metric

    points = [
        Metric(key, float(value), time, int(row.get("iteration", 0)))
        for row in rows
        for key, value in row.items()
        if key != "iteration" and isinstance(value, int | float)
    ]
    for start in range(0, len(points), METRICS_PER_BATCH):
        client.log_batch(run_id, metrics=points[start : start + METRICS_PER_BATCH])


def artifact(client: MlflowClient, run_id: str, path: str) -> None:
    client.log_artifact(run_id, path)


def tags(client: MlflowClient, run_id: str, values: Mapping[str, str]) -> None:
    for key, value in values.items():
        client.set_tag(run_id, key, value)


def end(client: MlflowClient, run_id: str, status: str, time: int) -> None:
    """`time` in milliseconds."""
    client.set_terminated(run_id, status, end_time=time)


OPERATIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (begin, params, metrics, artifact, tags, end)
}
