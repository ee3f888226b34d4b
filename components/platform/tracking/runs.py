"""What a stage records in its MLflow run. A stage that is run again finds its own run and goes on in it.

Work does not wait for MLflow. What can't be told is spooled, and delivered when the stage ends or by the next one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from components.platform import storage
from components.platform.context import PlatformSettings
from components.platform.launcher import LaunchInterrupted
from components.platform.manifest import Manifest
from components.platform.tracking.datasets import Context
from components.platform.tracking.operations import OPERATIONS
from components.platform.tracking.outage import OutageError, is_outage
from components.platform.tracking.spool import Entry, Spool, leftovers, spool_root
from components.platform.tracking.tracker import PIPELINE, Tracker, pipeline_run_id

Status = Literal["FINISHED", "FAILED", "KILLED"]


class StageRun:
    """What one stage records."""

    def __init__(self, tracker: Tracker, spool: Spool) -> None:
        self.tracker = tracker
        self._spool = spool
        self._began = _now()
        self._run_id: str | None = None

    @property
    def run_id(self) -> str:
        """Its run in MLflow.

        Raises:
            MlflowException: MLflow does not answer, and has not before.
        """
        if self._run_id is None:
            self._run_id = self.tracker.run_of(self._spool.stage, self._spool.pipeline_run, self._began)
        return self._run_id

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record settings; nested ones get dotted names. Values that are already there stay (a stage may rerun)."""
        self._tell("params", values={key: str(value) for key, value in _flatten(params).items()})

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        self.log_history([dict(metrics) | {"iteration": step}])

    def log_history(self, rows: list[dict[str, float]]) -> None:
        """Record metric curves; each row holds an `iteration` and the values measured there."""
        self._tell("metrics", rows=rows, time=_now())

    def log_artifact(self, path: Path | str) -> None:
        self._tell("artifact", path=str(path))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self._tell("tags", values=dict(tags))

    def log_dataset(self, corpus: Manifest, context: Context) -> None:
        """Name a corpus as what the run read, or built."""
        self._tell("dataset", corpus=asdict(corpus), context=context)

    def log_input_model(self, model: Manifest) -> None:
        """Name a model as what the run started from."""
        self._tell("input_model", model=asdict(model))

    def log_output_model(self, model: Manifest) -> None:
        """Name a model as what the run made."""
        self._tell("output_model", model=asdict(model))

    def log_base_model(self, pretrained: Manifest) -> None:
        """Name the model that pretraining started from."""
        self._tell("base_model", pretrained=asdict(pretrained))

    def log_scores(self, model: Manifest, scores: Mapping[str, float]) -> None:
        """Record what the run measured of a model, with the run and with the model."""
        self._tell("scores", model=asdict(model), values=dict(scores), time=_now())

    def begin(self) -> None:
        self._tell("begin")

    def end(self, status: Status) -> None:
        self._tell("end", status=status, time=_now())

    def deliver(self) -> bool:
        """Tell MLflow what is spooled; whether all of it has arrived."""
        try:
            for entry in self._spool.entries():
                self._do(entry)
        except Exception as error:
            if not is_outage(error):
                raise
            return False
        self._spool.clear()
        return True

    def _tell(self, operation: str, **data: Any) -> None:
        entry = Entry(operation, data)
        if self._spool.is_empty:  # else it has to wait for its turn
            try:
                self._do(entry)
                return
            except Exception as error:
                if not is_outage(error):
                    raise
                print(f"{self._spool.stage}  MLflow at {self.tracker.uri} does not answer; going on", flush=True)
        self._spool.add(entry)

    def _do(self, entry: Entry) -> None:
        OPERATIONS[entry.operation](self, **entry.data)


@contextmanager
def stage_run(platform: PlatformSettings, stage: str, params: Mapping[str, Any]) -> Iterator[StageRun]:
    """The stage's MLflow run, closed as FINISHED, FAILED (an error) or KILLED (told to stop).

    Raises:
        OutageError: MLflow does not answer, and the workspace is no place that the next step could find the spool at.
    """
    deliver_leftovers(platform)
    tracker = Tracker(platform)
    with _recorded(tracker, platform, PIPELINE) as pipeline:
        pipeline.begin()  # an earlier try may have closed it
    with _recorded(tracker, platform, stage) as run:
        run.begin()
        run.log_params(params)
        status: Status = "FINISHED"
        try:
            yield run
        except BaseException as error:
            status = ended_by(error)
            raise
        finally:
            run.end(status)


def ended_by(error: BaseException) -> Status:
    """How a run ends that this error has ended: it was told to stop, or it failed."""
    stopped = isinstance(error, LaunchInterrupted) or not isinstance(error, Exception)
    return "KILLED" if stopped else "FAILED"


def finish_pipeline(platform: PlatformSettings, status: Status) -> None:
    """Close the parent run of the pipeline; KFP's MLflow plugin closes its own."""
    deliver_leftovers(platform)
    if "MLFLOW_RUN_ID" in os.environ:
        return
    with _recorded(Tracker(platform), platform, PIPELINE) as run:
        run.end(status)


def deliver_leftovers(platform: PlatformSettings) -> None:
    """Tell MLflow what earlier stages, of this or of other pipeline runs, could not."""
    for spool in leftovers(platform):
        with spool.held() as is_ours:
            if is_ours and not StageRun(Tracker(platform), spool).deliver():
                return  # it would not take the next one either


@contextmanager
def _recorded(tracker: Tracker, platform: PlatformSettings, stage: str) -> Iterator[StageRun]:
    spool = Spool(spool_root(platform) / pipeline_run_id() / stage)
    with spool.held():
        run = StageRun(tracker, spool)
        try:
            yield run
        finally:
            delivered = run.deliver()
    if not delivered:
        _warn_of(spool, tracker, platform)


def _warn_of(spool: Spool, tracker: Tracker, platform: PlatformSettings) -> None:
    says = f"MLflow at {tracker.uri} does not answer; what it was to be told lies in {spool.folder}"
    if storage.is_s3(platform.workspace):
        raise OutageError(f"{says}. The step's result is kept: run it again when MLflow answers")
    print(f"{spool.stage}  {says}, and the next step delivers it", flush=True)


def _now() -> int:
    """Milliseconds since the epoch, as MLflow counts."""
    return int(time.time() * 1000)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
