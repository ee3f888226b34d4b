"""Manifests as MLflow keeps them: what a result was, also when its folder is gone."""

from __future__ import annotations

import tempfile

from components.platform.errors import InputError
from components.platform.manifest import MANIFEST_NAME, Manifest
from components.platform.quiet import stderr_only_on_failure
from components.platform.tracking.tags import DIGEST_TAG
from components.platform.tracking.tracker import existing_client


def recorded_manifest(uri: str, run_id: str, digest: str) -> Manifest | None:
    """The manifest of a result with this digest that some run handed on; None when there is none.

    Args:
        uri: of MLflow.
        run_id: any run of the experiment to look in.
    """
    from mlflow.exceptions import MlflowException

    client = existing_client(uri)
    try:
        experiment = client.get_run(run_id).info.experiment_id
        for run in client.search_runs([experiment], f"tags.`{DIGEST_TAG}` = '{digest}'"):
            with tempfile.TemporaryDirectory() as folder, stderr_only_on_failure():  # which draws bars
                return Manifest.load(client.download_artifacts(run.info.run_id, MANIFEST_NAME, folder))
    except (MlflowException, OSError, InputError):
        return None
    return None
