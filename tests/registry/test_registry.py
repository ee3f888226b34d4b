"""The registry stage tells about a run what the stages wrote about themselves, and only of one run."""

import json

import pytest

from components.platform.advisory import ADVISORY
from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.errors import InputError
from components.platform.manifest import Manifest
from components.registry import stage
from components.registry.settings import RegistrySettings

STATS = {
    "groups": {
        "guidelines": {"train": {"documents": 20, "tokens": 9000}, "validation": {"documents": 1, "tokens": 400}},
        "replay": {"train": {"documents": 5, "tokens": 100}, "validation": {"documents": 0, "tokens": 0}},
    }
}
METRICS = [{"iteration": 1, "loss": 8.5}, {"iteration": 1, "validation_loss": 8.4}, {"iteration": 2, "loss": 7.25}]


def result(model, accuracy):
    return {
        "benchmark": "pubmedqa",
        "mode": "top_token",
        "model": model,
        "n": 40,
        "accuracy": accuracy,
        "ci_low": accuracy - 0.1,
        "ci_high": accuracy + 0.1,
        "unparsed_rate": 0.025,
        "restricted_accuracy": 0.625,
    }


@pytest.fixture
def artifacts(tmp_path):
    """A run of hand-written artifacts, each made from the ones before it."""

    def make(kind, name, files, metadata=None, **inputs):
        folder = tmp_path / name
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content)
        made_by = {"inputs": {role: manifest.digest for role, manifest in inputs.items()}, "code": "c0de"}
        return Manifest.of_folder(kind, folder, made_by=made_by, metadata=metadata or {})

    metrics = {"metrics.jsonl": "".join(json.dumps(row) + "\n" for row in METRICS)}
    corpus = make("corpus", "corpus", {"stats.json": json.dumps(STATS)})
    pretrained = make("pretrain", "pretrain", metrics | {"model/model.safetensors": "w" * 100}, corpus=corpus)
    tuned = make("sft", "sft", metrics | {"model/model.safetensors": "x" * 100}, corpus=corpus, model=pretrained)
    quality = {"kl_per_token": 0.001, "top1_agreement": 0.99}
    files = {"quality.json": json.dumps(quality), "model/model.safetensors": "q" * 30}
    files["model-gemm/model.safetensors"] = "g" * 29  # the same model, not another one
    quantized = make("awq", "awq", files, corpus=corpus, model=tuned)
    evaluations = {
        f"{role}_evaluation": make(
            "evaluation", f"evaluation-{label}", {"results.json": json.dumps([result(label, 0.5)])}, {"model": label}
        )
        for role, label in (("pretrained", "pretrained"), ("tuned", "sft"), ("quantized", "awq"))
    }
    return {"corpus": corpus, "pretrained": pretrained, "tuned": tuned, "quantized": quantized, **evaluations}


@pytest.fixture
def platform(tmp_path):
    tracking = TrackingSettings(uri=f"sqlite:///{tmp_path}/mlflow.db")
    return PlatformSettings(data=str(tmp_path), workspace=str(tmp_path / "runs"), tracking=tracking)


def test_summary_report_and_card(artifacts, platform):
    manifest = stage.run(RegistrySettings(model_name="tiny"), platform, **artifacts)
    summary = manifest.read_json("summary.json")
    assert summary["training"]["sft"] == {
        "first_loss": 8.5,
        "last_loss": 7.25,
        "loss": [[1, 8.5], [2, 7.25]],
        "validation_loss": [[1, 8.4]],
    }
    assert summary["sizes"] == {"sft": 100, "awq": 30}
    models = [("pretrained", 0.5), ("sft", 0.5), ("awq", 0.5)]
    assert [(row["model"], row["accuracy"]) for row in summary["results"]] == models
    assert manifest.metadata["pubmedqa/top_token/awq/accuracy"] == 0.5
    card = manifest.fetch("model_card.md").read_text()
    assert ADVISORY in card
    assert "| guidelines | 20 | 9,000 | 1 | 400 |" in card
    assert "| pubmedqa | top_token | awq | 40 | 0.500 | 0.400 – 0.600 | 2.5% | 0.625 |" in card
    assert artifacts["quantized"].digest in card
    page = manifest.fetch("report.html").read_text()
    assert page.count("<svg") == 2
    assert "0.400 – 0.600" in page


def test_artifacts_of_two_runs_are_refused(artifacts, platform, tmp_path):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "stats.json").write_text("{}")
    artifacts["corpus"] = Manifest.of_folder("corpus", tmp_path / "foreign")
    with pytest.raises(InputError, match=r"pretrained was made from corpus .* not part of this run"):
        stage.run(RegistrySettings(model_name="tiny"), platform, **artifacts)
