"""Can runs be recorded?"""

from __future__ import annotations

import os

from components.platform.tracking.tracker import probe
from pipelines.preflight.site import Site


def check_mlflow(site: Site) -> str:
    """Raises InputError when a run can't be written into the experiment."""
    # A person waits: MLflow would try for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    tracking = site.recipe.platform.tracking
    server = "that of MLFLOW_TRACKING_URI" if "MLFLOW_TRACKING_URI" in os.environ else tracking.uri
    return f"{server}, experiment {tracking.experiment} ({probe(site.recipe.platform)})"
