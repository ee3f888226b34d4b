"""Corpora and models in MLflow: each digest once, linked as inputs and outputs of runs; on SQLite and on a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from components.platform.base_model import BaseModel
from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.errors import InputError
from components.platform.manifest import Manifest
from components.platform.tracking.datasets import log_dataset
from components.platform.tracking.logged_models import (
    log_base_model,
    log_input_model,
    log_output_model,
    log_scores,
)
from components.platform.tracking.models import ModelRegistry
from components.platform.tracking.runs import stage_run
from components.platform.tracking.tracker import Tracker, existing_client
from tests.platform.test_mlflow_server import free_port, wait_until

TOKENS = {"groups": {"guidelines": {"train": {"documents": 20, "tokens": 9000}}}}


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> Iterator[str]:
    """A server whose clients see none of its files."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    (folder / "mlflow.db").write_bytes(empty_mlflow.read_bytes())
    places = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "store")]
    command = [Path(sys.executable).with_name("mlflow"), "server", "--port", str(port), "--workers", "1", *places]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)

    def ready() -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{port}/health", timeout=60).ok
        except requests.ConnectionError:
            return False

    wait_until(ready, process, folder / "log")
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, 9)
    process.wait()


@pytest.fixture(params=["sqlite", pytest.param("server", marks=pytest.mark.slow)])
def tracked(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlatformSettings:
    uri = request.getfixturevalue("mlflow_uri" if request.param == "sqlite" else "mlflow_server")
    artifacts = str(tmp_path / "mlartifacts") if request.param == "sqlite" else None
    monkeypatch.setenv("KFP_RUN_ID", f"run-{request.node.name}")
    tracking = TrackingSettings(uri=uri, experiment=request.node.name, artifacts=artifacts)
    return PlatformSettings(data=str(tmp_path), workspace=str(tmp_path / "runs"), tracking=tracking)


@pytest.fixture
def make(tmp_path: Path):
    """Makes an artifact: make("sft", "content")."""

    def artifact(kind: str, content: str, **made_by) -> Manifest:
        folder = tmp_path / "runs" / kind / content
        folder.mkdir(parents=True)
        (folder / "weights").write_text(content)
        metadata = TOKENS if kind == "corpus" else {}
        return Manifest.of_folder(kind, folder, made_by={"code": "c0de"} | made_by, metadata=metadata)

    return artifact


def test_a_chain_of_models(tracked, make):
    """Corpus and base → pretrained → SFT, with scores; all of it twice, as when a step runs again."""
    corpus = make("corpus", "c")
    began_with = BaseModel.existing("models/llama-2.7b", {"models/llama-2.7b/a.json": "sha256:1"})
    pretrained = replace(make("pretrain", "p"), metadata=began_with.as_metadata())
    tuned = make("sft", "s")
    runs = {}
    for _ in range(2):
        with stage_run(tracked, "pretrain", {}) as runs["pretrain"]:
            log_dataset(runs["pretrain"], corpus, "training")
            base = log_base_model(runs["pretrain"], pretrained)
            first = log_output_model(runs["pretrain"], pretrained)
        with stage_run(tracked, "sft", {}) as runs["sft"]:
            assert log_input_model(runs["sft"], pretrained) == first
            second = log_output_model(runs["sft"], tuned)
        with stage_run(tracked, "evaluate", {}) as runs["evaluate"]:
            log_scores(runs["evaluate"], tuned, {"pubmedqa/top_token/accuracy": 0.5}, time=1)

    tracker = Tracker(tracked)
    seen = {stage: tracker.client.get_run(run.run_id) for stage, run in runs.items()}
    [dataset] = seen["pretrain"].inputs.dataset_inputs
    assert dataset.dataset.digest == corpus.digest[:36]
    assert json.loads(dataset.dataset.source) == {"uri": corpus.uri}
    assert json.loads(dataset.dataset.profile) == TOKENS | {"bytes": 1}
    assert {tag.key: tag.value for tag in dataset.tags} == {
        "mlflow.data.context": "training",
        "meditron.digest": corpus.digest,
    }
    links = {
        stage: ([one.model_id for one in run.inputs.model_inputs], [one.model_id for one in run.outputs.model_outputs])
        for stage, run in seen.items()
    }
    assert links == {"pretrain": ([base], [first]), "sft": ([first], [second]), "evaluate": ([second], [])}
    assert len(tracker.client.search_logged_models([tracker.experiment_id])) == 3

    of_base, of_tuned = (tracker.client.get_logged_model(one) for one in (base, second))
    assert (of_base.name, of_base.status.value) == ("llama-2-7b", "READY")
    assert of_base.tags["meditron.digest"] == began_with.digest
    assert of_tuned.source_run_id == runs["sft"].run_id
    assert of_tuned.tags["meditron.artifact"] == tuned.uri
    [score] = of_tuned.metrics
    assert (score.key, score.value, score.run_id) == ("pubmedqa/top_token/accuracy", 0.5, runs["evaluate"].run_id)
    assert [file.path for file in tracker.client.list_logged_model_artifacts(second)] == ["manifest.json"]


def test_another_run_finds_the_model_of_the_first(tracked, make, monkeypatch):
    model = make("awq", "q")
    with stage_run(tracked, "quantize", {}) as run:
        first = log_output_model(run, model)
    monkeypatch.setenv("KFP_RUN_ID", f"{tracked.tracking.experiment}-again")
    with stage_run(tracked, "quantize", {}) as run:
        assert log_output_model(run, model) == first
        assert log_output_model(run, make("awq", "other")) != first
    outputs = Tracker(tracked).client.get_run(run.run_id).outputs.model_outputs
    assert first in {output.model_id for output in outputs}


def test_a_version_stands_for_the_logged_model(tracked, make):
    model = make("awq", "q")
    with stage_run(tracked, "register", {}) as run:
        model_id = log_input_model(run, model)
        registry = ModelRegistry(tracked.tracking.uri)
        name = tracked.tracking.experiment.replace("[", "-").replace("]", "")
        version = registry.register(name, f"{model.uri}/model", run.run_id, {}, model_id=model_id)
        assert registry.register(name, f"{model.uri}/model", run.run_id, {}, model_id=model_id) == version
        registry.describe(version, "# card\n" + "x" * 9000)
    assert version.tags == {"meditron.model": f"{model.uri}/model", "meditron.logged_model": model_id}
    client = Tracker(tracked).client
    found = client.get_model_version(name, str(version.version))
    assert len(found.description) == 5000
    assert ModelRegistry(tracked.tracking.uri).get(name, version.version) == version
    if tracked.tracking.uri.startswith("http"):
        assert found.source == f"models:/{model_id}"
        assert name in client.get_logged_model(model_id).tags["mlflow.modelVersions"]
    else:
        assert found.source == f"{model.uri}/model"


def test_to_read_makes_no_database(tmp_path):
    with pytest.raises(InputError, match=r"none.db: no such file; expected the database of MLflow"):
        existing_client(f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()


def test_a_base_model_is_its_files_or_settings_and_seed():
    new = BaseModel.new({"hidden_size": 1}, seed=1)
    assert new == BaseModel.new({"hidden_size": 1}, seed=1)
    assert new not in (BaseModel.new({"hidden_size": 2}, seed=1), BaseModel.new({"hidden_size": 1}, seed=2))
    there = BaseModel.existing("llama", {"a": "sha256:1", "b": "sha256:2"})
    assert there == BaseModel.existing("llama", {"b": "sha256:2", "a": "sha256:1"})
    assert there != BaseModel.existing("llama", {"a": "sha256:1", "b": "sha256:3"})
    assert (new.is_new, there.is_new) == (True, False)
