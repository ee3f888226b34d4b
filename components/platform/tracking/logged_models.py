"""Models in MLflow: a LoggedModel stands for an artifact, which stays where it is.

One digest is one LoggedModel, however many runs make or find it: they all name it as their output. A run that reads a
model names it as an input, so that MLflow's pages lead from any model to the ones before it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components.platform.base_model import BaseModel
from components.platform.manifest import MANIFEST_NAME, Manifest
from components.platform.tracking.tags import ARTIFACT_TAG, CODE_TAG, DIGEST_TAG

if TYPE_CHECKING:
    from components.platform.tracking.runs import StageRun


def log_output_model(run: StageRun, model: Manifest) -> str:
    """Name a model as what the run made; its id in MLflow."""
    from mlflow.entities import LoggedModelOutput

    model_id = _logged(run, model, made=True)
    outputs = run.tracker.client.get_run(run.run_id).outputs
    if outputs is None or model_id not in {output.model_id for output in outputs.model_outputs}:
        run.tracker.client.log_outputs(run.run_id, [LoggedModelOutput(model_id, step=0)])
    return model_id


def log_input_model(run: StageRun, model: Manifest) -> str:
    """Name a model as what the run started from; its id in MLflow."""
    return _log_input(run, _logged(run, model, made=False))


def log_base_model(run: StageRun, pretrained: Manifest) -> str:
    """Name the model that pretraining started from; its id in MLflow."""
    base = BaseModel.of(pretrained)
    name = re.sub(r"[^\w-]+", "-", Path(base.name).name)
    return _log_input(run, _find(run, base.digest) or _create(run, name, "base", {DIGEST_TAG: base.digest}, made=False))


def log_scores(run: StageRun, model: Manifest, scores: Mapping[str, float], time: int) -> None:
    """Record what the run measured of a model at `time` (in milliseconds), with the run and with the model."""
    from mlflow.entities import Metric

    model_id = log_input_model(run, model)
    logged = run.tracker.client.get_logged_model(model_id).metrics or ()
    known = {metric.key for metric in logged if metric.run_id == run.run_id}
    metrics = [Metric(key, value, time, 0, model_id=model_id) for key, value in scores.items() if key not in known]
    run.tracker.client.log_batch(run.run_id, metrics=metrics)


def _logged(run: StageRun, model: Manifest, made: bool) -> str:
    """Id of the LoggedModel that stands for an artifact; it holds the manifest, and no weights."""
    if known := _find(run, model.digest):
        run.tracker.client.set_logged_model_tags(known, {ARTIFACT_TAG: model.uri})
        return known
    tags = {DIGEST_TAG: model.digest, ARTIFACT_TAG: model.uri, CODE_TAG: model.made_by.get("code", "")}
    model_id = _create(run, model.kind, model.kind, tags, made)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, MANIFEST_NAME))
        run.tracker.client.log_model_artifact(model_id, str(Path(folder, MANIFEST_NAME)))
    return model_id


def _find(run: StageRun, digest: str) -> str | None:
    found = run.tracker.client.search_logged_models(
        [run.tracker.experiment_id], f"tags.`{DIGEST_TAG}` = '{digest}'", max_results=1
    )
    return found[0].model_id if found else None


def _create(run: StageRun, name: str, kind: str, tags: Mapping[str, str], made: bool) -> str:
    """`made`: by this run; else MLflow knows no run that made it."""
    client, source = run.tracker.client, run.run_id if made else None
    model = client.create_logged_model(run.tracker.experiment_id, name, source, dict(tags), model_type=kind)
    client.finalize_logged_model(model.model_id, "READY")
    return model.model_id


def _log_input(run: StageRun, model_id: str) -> str:
    from mlflow.entities import LoggedModelInput

    inputs = run.tracker.client.get_run(run.run_id).inputs
    if model_id not in {known.model_id for known in inputs.model_inputs}:
        run.tracker.client.log_inputs(run.run_id, models=[LoggedModelInput(model_id)])
    return model_id
