"""Names of the tags that runs, models and versions carry in MLflow, and that more than one module reads or writes."""

ARTIFACT_TAG = "meditron.artifact"
"""Where the artifact lies that a stage handed on, or that a model stands for."""

DIGEST_TAG = "meditron.digest"
"""Digest of that artifact."""

CODE_TAG = "meditron.code"
"""Version of the code that made it."""

INPUT_TAGS = "meditron.input."
"""Tags that begin so hold the digests of what a stage read, by role."""

PARENT_TAG = "mlflow.parentRunId"
"""MLflow's own: the run that a run is a part of."""
