"""The MLflow server of a platform, and the runs of one pipeline run there: a parent, and a child for each stage."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from components.platform.context import PlatformSettings
from components.platform.errors import InputError
from components.platform.launcher.identity import Submitter
from components.platform.tracking.tags import PARENT_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"
RUN_ID_TAG, STAGE_TAG = "meditron.run_id", "meditron.stage"
PIPELINE = "pipeline"
"""The stage that the parent run of a pipeline run stands for."""

# MLflow's client would try for minutes each time; a stage has other things to do.
REQUEST_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}


def pipeline_run_id() -> str:
    """Name of the pipeline run this process belongs to.

    On a cluster the DAG maps KFP's run id into KFP_RUN_ID; `meditron run` sets it for its own. A stage that is
    started by hand belongs to the run "by-hand".
    """
    return Submitter.from_environment().run_id


def pipeline_run_of(client: MlflowClient, run_id: str) -> str:
    """Id of the parent run that a run belongs to; of a parent run its own."""
    return client.get_run(run_id).data.tags.get(PARENT_TAG, run_id)


def tracking_uri(platform: PlatformSettings) -> str:
    return os.environ.get("MLFLOW_TRACKING_URI", platform.tracking.uri)


def existing_client(uri: str) -> MlflowClient:
    """A client of an MLflow that is there; unlike `Tracker` it makes no database and no experiment.

    Raises:
        InputError: there is no such database.
    """
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        raise InputError(f"{uri}: no such file; expected the database of MLflow that a run has written")
    return _client(uri)


def _client(uri: str) -> MlflowClient:
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    for variable, value in REQUEST_LIMITS.items():
        os.environ.setdefault(variable, value)
    # Imported here: mlflow takes a second that only tracked processes should pay.
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


class Tracker:
    """The MLflow server and experiment that a platform names."""

    def __init__(self, platform: PlatformSettings) -> None:
        self.uri = uri = tracking_uri(platform)
        if uri.startswith(SQLITE):
            Path(uri.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)
        self.client = _client(uri)
        self._tracking = platform.tracking

    @cached_property
    def experiment_id(self) -> str:
        """The experiment of all runs; made by whoever comes first."""
        from mlflow.exceptions import MlflowException

        if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return given
        tracking = self._tracking
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
        """Id of this pipeline run's parent run, made by whichever stage comes first."""
        return self.run_of(PIPELINE, pipeline_run_id())

    def run_of(self, stage: str, pipeline_run: str, began: int | None = None) -> str:
        """Id of a stage's run, below the parent run of its pipeline run; both are made if they are not there.

        Args:
            began: when the stage began, in milliseconds since the epoch; default: now.
        """
        if stage == PIPELINE:
            given = os.environ.get("MLFLOW_RUN_ID") if pipeline_run == pipeline_run_id() else None
            return given or self._find_or_create(stage, pipeline_run, None, began)
        return self._find_or_create(stage, pipeline_run, self.run_of(PIPELINE, pipeline_run, began), began)

    def find(self, stage: str, pipeline_run: str) -> str | None:
        """Id of a stage's run, if it has begun."""
        found = self.client.search_runs(
            [self.experiment_id],
            f"tags.`{RUN_ID_TAG}` = '{pipeline_run}' and tags.`{STAGE_TAG}` = '{stage}'",
            max_results=1,
        )
        return found[0].info.run_id if found else None

    def _find_or_create(self, stage: str, run_id: str, parent: str | None, began: int | None) -> str:
        if found := self.find(stage, run_id):
            return found
        tags = {RUN_ID_TAG: run_id, STAGE_TAG: stage}
        if parent:
            tags[PARENT_TAG] = parent
        name = f"meditron {run_id}" if parent is None else stage
        return self.client.create_run(self.experiment_id, began, tags, run_name=name).info.run_id


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
