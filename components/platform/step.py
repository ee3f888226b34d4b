"""A stage as a pipeline step: settings in, one tracked MLflow run around the work, manifest and report out.

This is what all KFP faces (`component.py`) have in common, free of KFP itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from components.platform.context import PlatformSettings
from components.platform.errors import UserError
from components.platform.launcher.processes import die_with, die_with_parent
from components.platform.manifest import MANIFEST_NAME, METRICS_NAME, REPORT_NAME, Manifest
from components.platform.settings import Settings
from components.platform.tracking.outage import OutageError, is_outage
from components.platform.tracking.runs import StageRun, ended_by, finish_pipeline, stage_run
from components.platform.tracking.tags import ARTIFACT_TAG, CODE_TAG, DIGEST_TAG, INPUT_TAGS

T = TypeVar("T", bound=Settings)

RUNNER_VARIABLE = "MEDITRON_RUNNER"
"""Process id of the `meditron run` that a local step belongs to."""


class OutputFile(Protocol):
    """What a step needs of a KFP output artifact."""

    path: str
    metadata: dict[str, Any]


class PlainStep(Generic[T]):
    """Context of one step: parses what the pipeline passes as text, and ends with the pipeline.

    A step that fails closes the pipeline's run in MLflow, and one that is tried again opens it; the step that is the
    last one closes it for good (`end_pipeline`).

    Errors that are the user's to fix end the process with their message alone.
    """

    def __init__(self, name: str, settings_type: type[T], settings: str, platform: str) -> None:
        """`settings` and `platform` are JSON: KFP would turn the integers of a dict into floats."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a stopped step closes its MLflow run first
        die_with_parent(signal.SIGTERM)
        if RUNNER_VARIABLE in os.environ:  # between it and us stands KFP's shell, which would live on
            die_with(int(os.environ[RUNNER_VARIABLE]), signal.SIGTERM)
        self.name = name
        self.settings = settings_type.model_validate_json(settings)
        self.platform = PlatformSettings.model_validate_json(platform)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self._open.__exit__(kind, error, tb)
        except OutageError as outage:  # at the very end of a step that went well
            error = error or outage
        if error is not None:
            finish_pipeline(self.platform, ended_by(error))
        if isinstance(error, UserError):
            print(f"{self.name}  error: {error}", flush=True)
            sys.exit(1)
        if isinstance(error, Exception) and is_outage(error):  # of a step that needs MLflow's answer
            print(f"{self.name}  error: MLflow does not answer; run again when it does: {str(error)[:200]}", flush=True)
            sys.exit(1)

    def end_pipeline(self) -> None:
        """Close the pipeline's run in MLflow: no step comes after this one."""
        finish_pipeline(self.platform, "FINISHED")


class Step(PlainStep[T]):
    """A step that is a run in MLflow, and hands its result on to the next stage."""

    tracked: StageRun

    def __enter__(self) -> Self:
        params = self.settings.model_dump(mode="json")
        self.tracked = self._open.enter_context(stage_run(self.platform, self.name, params))
        return self

    def finish(self, manifest: Manifest, output: OutputFile, report: OutputFile) -> None:
        """Record a result in MLflow and pass its manifest and report to KFP.

        What goes to MLflow lies in the artifact itself: numbers in the manifest's metadata, curves in
        `metrics.jsonl`, a page in `report.html`.
        """
        self.tracked.log_metrics(manifest.numbers)
        made_from = {
            f"{INPUT_TAGS}{role}": digest
            for role, digest in manifest.made_by.get("inputs", {}).items()
            if "/" not in role  # a corpus also names its many parts; they are listed in the manifest
        }
        self.tracked.set_tags(
            {
                ARTIFACT_TAG: manifest.uri,
                DIGEST_TAG: manifest.digest,
                CODE_TAG: manifest.made_by["code"],
                **made_from,
            }
        )
        if manifest.has(METRICS_NAME):
            self.tracked.log_history(manifest.read_jsonl(METRICS_NAME))
        manifest.save(output.path)
        with tempfile.TemporaryDirectory() as folder:
            shutil.copyfile(output.path, Path(folder, MANIFEST_NAME))
            self.tracked.log_artifact(Path(folder, MANIFEST_NAME))
        output.metadata.update(manifest.numbers | {"uri": manifest.uri, "digest": manifest.digest})
        self.show(manifest.fetch(REPORT_NAME), report)

    def show(self, page: Path, output: OutputFile) -> None:
        """Keep an HTML page in MLflow, and show it in KFP's user interface."""
        self.tracked.log_artifact(page)
        Path(output.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, output.path)
