"""MLflow: one parent run for a pipeline run, a child for each stage. The only module that imports mlflow.

A stage that is run again finds its own child run and goes on in it. On a cluster whose KFP backend provides
MLFLOW_* variables those win over the recipe (KFP 2.17's MLflow plugin sets them).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

from components.platform.context import PlatformSettings
from components.platform.errors import InputError
from components.platform.launcher import LaunchInterrupted
from components.platform.quiet import stderr_only_on_failure

SUBMISSION_FILE, RECIPE_FILE = "submission.json", "recipe.yaml"
RUN_ID_TAG, STAGE_TAG = "meditron.run_id", "meditron.stage"
PLACE_TAG, PLACE_NOTE = "meditron.model", "model.json"
PARAM_LENGTH = 6000  # MLflow's limit for one parameter's value
METRICS_PER_BATCH = 1000  # MLflow's limit for one log-batch request


def pipeline_run_id() -> str:
    """Name of the pipeline run this process belongs to.

    On a cluster the DAG maps KFP's run id into KFP_RUN_ID; `meditron run` sets it for its own. A stage that is
    started by hand belongs to the run "by-hand".
    """
    return os.environ.get("KFP_RUN_ID", "by-hand")


class Tracker:
    """The MLflow server and experiment that a platform names."""

    def __init__(self, platform: PlatformSettings) -> None:
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        # Imported here: mlflow takes a second that only tracked processes should pay.
        from mlflow import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI", platform.tracking.uri)
        if uri.startswith("sqlite:///"):
            Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        self.uri = uri
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.experiment_id = os.environ.get("MLFLOW_EXPERIMENT_ID") or self._experiment(platform)

    def _experiment(self, platform: PlatformSettings) -> str:
        from mlflow.exceptions import MlflowException

        tracking = platform.tracking
        existing = self.client.get_experiment_by_name(tracking.experiment)
        if existing:
            return existing.experiment_id
        root = tracking.artifacts
        location = str(Path(root).resolve()) if root and not urlparse(root).scheme else root
        try:
            # The tag has MLflow's pages open on models and their metrics rather than on chat traces.
            tags = {"mlflow.experimentKind": "custom_model_development"}
            return self.client.create_experiment(tracking.experiment, artifact_location=location, tags=tags)
        except MlflowException:  # another stage made it a moment ago
            return self.client.get_experiment_by_name(tracking.experiment).experiment_id

    def parent_run(self) -> str:
        """Id of the pipeline run's parent run, made by whichever stage comes first."""
        return os.environ.get("MLFLOW_RUN_ID") or self._find_or_create("pipeline", parent=None)

    def stage_run(self, stage: str) -> str:
        return self._find_or_create(stage, parent=self.parent_run())

    def _find_or_create(self, stage: str, parent: str | None) -> str:
        run_id = pipeline_run_id()
        found = self.client.search_runs(
            [self.experiment_id],
            f"tags.`{RUN_ID_TAG}` = '{run_id}' and tags.`{STAGE_TAG}` = '{stage}'",
            max_results=1,
        )
        if found:
            return found[0].info.run_id
        tags = {RUN_ID_TAG: run_id, STAGE_TAG: stage}
        if parent:
            tags["mlflow.parentRunId"] = parent
        name = f"meditron {run_id}" if parent is None else stage
        return self.client.create_run(self.experiment_id, tags=tags, run_name=name).info.run_id


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

    def register_model(self, name: str, source: str, alias: str, tags: Mapping[str, str]) -> int:
        """Register the model that lies at `source` by reference (no bytes are copied); the version's number.

        The same source is registered once: a repeated run finds its version again. `alias` then points at it.
        A server takes no paths for a source, but what lies among a run's artifacts: there the version points at a
        note of the place, which its tag `meditron.model` names as well.
        """
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        versions = self._client.search_model_versions(f"name = '{name}'")
        version = next((version for version in versions if version.tags.get(PLACE_TAG) == source), None)
        if version is None:
            tags = {**tags, PLACE_TAG: source}
            if urlparse(self.tracker.uri).scheme in {"http", "https"} and not urlparse(source).scheme:
                self._client.log_dict(self.run_id, tags, PLACE_NOTE)
                source = f"runs:/{self.run_id}/{PLACE_NOTE}"
            version = self._client.create_model_version(name, source, run_id=self.run_id, tags=tags)
        self._client.set_registered_model_alias(name, alias, version.version)
        return int(version.version)


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


def record_submission(platform: PlatformSettings, submission: str) -> None:
    """Keep with the parent run what it was submitted from.

    Args:
        submission: JSON with at least `text` (the recipe file), `code`, `commit`, `version` and `images`.
    """
    tracker = Tracker(platform)
    run_id, record = tracker.parent_run(), json.loads(submission)
    tracker.client.log_text(run_id, submission, SUBMISSION_FILE)
    tracker.client.log_text(run_id, record["text"], RECIPE_FILE)
    for key in ("code", "commit", "version"):
        if record[key] is not None:
            tracker.client.set_tag(run_id, f"meditron.{key}", record[key])
    for image, digest in record["images"].items():
        tracker.client.set_tag(run_id, f"meditron.image.{image.replace(':', '/')}", digest)


def read_submission(uri: str, run_id: str) -> str:
    """What `record_submission` kept with a run; `run_id` may also be that of one of its stages.

    Raises:
        InputError: there is no such run, or it has no such record.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=uri)
    try:
        parent = client.get_run(run_id).data.tags.get("mlflow.parentRunId", run_id)
        with tempfile.TemporaryDirectory() as folder, stderr_only_on_failure():  # which draws bars
            return Path(client.download_artifacts(parent, SUBMISSION_FILE, folder)).read_text(encoding="utf-8")
    except (MlflowException, OSError) as error:
        raise InputError(f"MLflow run {run_id} at {uri}: no {SUBMISSION_FILE} to be had: {error}") from None


def probe(platform: PlatformSettings) -> str:
    """Write a run with an artifact into the experiment, and delete the run again; the experiment's id.

    Raises:
        InputError: the server can't be reached, or refuses.
    """
    from mlflow.exceptions import MlflowException

    try:
        tracker = Tracker(platform)
        run_id = tracker.client.create_run(tracker.experiment_id, run_name="preflight").info.run_id
        tracker.client.log_text(run_id, "written by meditron preflight\n", "preflight.txt")
        tracker.client.delete_run(run_id)
    except (MlflowException, OSError) as error:
        raise InputError(
            f"MLflow at {platform.tracking.uri}, experiment {platform.tracking.experiment}: {str(error)[:200]}; check "
            "the address, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        ) from None
    return tracker.experiment_id


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
