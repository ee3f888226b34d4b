"""What a pipeline run was submitted from, kept with its parent run."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from components.platform.context import PlatformSettings
from components.platform.errors import InputError
from components.platform.quiet import stderr_only_on_failure
from components.platform.tracking.tracker import Tracker

SUBMISSION_FILE, RECIPE_FILE = "submission.json", "recipe.yaml"


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
