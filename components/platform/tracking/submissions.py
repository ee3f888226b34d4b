"""What a pipeline run was submitted from, kept with its parent run."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

from components.platform.context import PlatformSettings
from components.platform.errors import InputError
from components.platform.quiet import stderr_only_on_failure
from components.platform.tracking.tags import CODE_TAG
from components.platform.tracking.tracker import Tracker, existing_client, pipeline_run_of

SUBMISSION_FILE, RECIPE_FILE = "submission.json", "recipe.yaml"
RECIPE_TAG, COMMIT_TAG, VERSION_TAG = (f"meditron.{key}" for key in ("recipe", "commit", "version"))
IMAGE_TAGS = "meditron.image."
PIPELINE_RUN_TAG = "meditron.pipeline_run"


def record_submission(platform: PlatformSettings, submission: str) -> None:
    """Keep with the parent run what it was submitted from.

    Args:
        submission: JSON with at least `text` (the recipe file), `code`, `commit`, `version` and `images`.
    """
    tracker = Tracker(platform)
    run_id, record = tracker.parent_run(), json.loads(submission)
    tracker.client.log_text(run_id, submission, SUBMISSION_FILE)
    tracker.client.log_text(run_id, record["text"], RECIPE_FILE)
    tags = {CODE_TAG: record["code"], COMMIT_TAG: record["commit"], VERSION_TAG: record["version"]}
    tags[RECIPE_TAG] = hashlib.sha256(record["text"].encode()).hexdigest()
    tags |= {f"{IMAGE_TAGS}{image.replace(':', '/')}": digest for image, digest in record["images"].items()}
    for key, value in tags.items():
        if value is not None:
            tracker.client.set_tag(run_id, key, value)


def submission_tags(platform: PlatformSettings) -> dict[str, str]:
    """What a version of a model says of the run that made it: recipe (SHA-256), code, commit, images, and the run."""
    tracker = Tracker(platform)
    run_id = tracker.parent_run()
    recorded = tracker.client.get_run(run_id).data.tags
    keys = {RECIPE_TAG, CODE_TAG, COMMIT_TAG, VERSION_TAG}
    kept = {key: value for key, value in recorded.items() if key in keys or key.startswith(IMAGE_TAGS)}
    return kept | {PIPELINE_RUN_TAG: run_id}


def read_submission(uri: str, run_id: str) -> str:
    """What `record_submission` kept with a run; `run_id` may also be that of one of its stages.

    Raises:
        InputError: there is no such run, or it has no such record.
    """
    from mlflow.exceptions import MlflowException

    client = existing_client(uri)
    try:
        pipeline = pipeline_run_of(client, run_id)
        with tempfile.TemporaryDirectory() as folder, stderr_only_on_failure():  # which draws bars
            return Path(client.download_artifacts(pipeline, SUBMISSION_FILE, folder)).read_text(encoding="utf-8")
    except (MlflowException, OSError) as error:
        raise InputError(f"MLflow run {run_id} at {uri}: no {SUBMISSION_FILE} to be had: {error}") from None
