"""Corpora in MLflow: a run names the dataset that it wrote or read, with its digest and its table of tokens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from components.platform import storage
from components.platform.manifest import Manifest
from components.platform.tracking.tags import DIGEST_TAG

if TYPE_CHECKING:
    from components.platform.tracking.runs import StageRun

Context = Literal["corpus", "training", "calibration"]

DIGEST_LENGTH = 36  # MLflow's limit; the whole digest is in the tag meditron.digest


def log_dataset(run: StageRun, corpus: Manifest, context: Context) -> None:
    """Note with a run which corpus it used for what (in the step that builds it, `context` is "corpus").

    Nothing happens the second time.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=corpus.kind,
        digest=corpus.digest[:DIGEST_LENGTH],
        source_type="s3" if storage.is_s3(corpus.uri) else "local",
        source=json.dumps({"uri": corpus.uri}),
        profile=json.dumps({**corpus.metadata, "bytes": corpus.bytes}),
    )
    tags = [InputTag("mlflow.data.context", context), InputTag(DIGEST_TAG, corpus.digest)]
    run.tracker.client.log_inputs(run.run_id, [DatasetInput(dataset, tags)])
