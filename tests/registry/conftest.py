"""A run of hand-written artifacts, each made from the ones before it, as the stages note it down."""

import json

import pytest

from components.platform.base_model import BaseModel
from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.manifest import Manifest
from components.platform.storage import sha256

STATS = {
    "groups": {
        "guidelines": {"train": {"documents": 20, "tokens": 9000}, "validation": {"documents": 1, "tokens": 400}},
        "replay": {"train": {"documents": 5, "tokens": 100}, "validation": {"documents": 0, "tokens": 0}},
    }
}
SOURCE_FILES = {
    "guidelines/a.jsonl": "guidelines",
    "guidelines/b.jsonl": "guidelines",
    "stack/exchange.jsonl": "replay",
    "eval/medqa.jsonl": None,
}
LICENCES = {
    "guidelines": [
        {"licence": "cc-by", "documents": 20, "tokens": 9000},
        {"licence": "unknown", "documents": 1, "tokens": 400},
    ],
    "replay": [{"licence": "cc-by-sa", "documents": 5, "tokens": 100}],
}
LEDGER = [{"source": "guidelines", "step": "decontaminate", "drops": {"contaminated_pubmedqa": 3}}]
METRICS = [{"iteration": 1, "loss": 8.5}, {"iteration": 1, "validation_loss": 8.4}, {"iteration": 2, "loss": 7.25}]
TRAINED = {
    "sequence_length": 2048,
    "global_batch_size": 1600,
    "min_lr": 1e-6,
    "weight_decay": 0.1,
    "dtype": "bf16",
}
START = {"device": "NVIDIA A100-SXM4-80GB", "devices": 4, "seconds": 1800.0, "gpu_joules": 3.6e6, "cpu_joules": None}


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
        "ece": 0.125,
    }


@pytest.fixture
def platform(tmp_path, mlflow_uri):
    tracking = TrackingSettings(uri=mlflow_uri, artifacts=str(tmp_path / "mlartifacts"))
    return PlatformSettings(data=str(tmp_path / "data"), workspace=str(tmp_path / "runs"), tracking=tracking)


@pytest.fixture
def data(tmp_path):
    """The source files, by name."""
    paths = {name: tmp_path / "data" / name for name in SOURCE_FILES}
    for name, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"the content of {name}\n")
    return paths


@pytest.fixture
def artifacts(tmp_path, data):
    """The artifacts of a run, by role."""

    def make(kind, name, files, metadata=None, settings=None, sources=(), **inputs):
        folder = tmp_path / "runs" / kind / name
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content)
        made_by = {
            "settings": settings or {},
            "inputs": {role: manifest.digest for role, manifest in inputs.items()},
            "places": {role: manifest.uri for role, manifest in inputs.items()},
            "sources": {name: f"sha256:{sha256(data[name])}" for name in sources},
            "source_bytes": {name: data[name].stat().st_size for name in sources},
            "code": "c0de",
        }
        manifest = Manifest.of_folder(kind, folder, made_by=made_by, metadata=metadata or {})
        manifest.save(folder / "manifest.json")
        return manifest

    shard = make("corpus-shard", "guidelines", {"documents": "x"}, sources=["guidelines/a.jsonl", "guidelines/b.jsonl"])
    by_source = {
        source: [name for name, owner in SOURCE_FILES.items() if owner == source] for source in ("guidelines", "replay")
    }
    rows = [{"source": name, "licences": LICENCES[name], "files": files} for name, files in by_source.items()]
    corpus = make(
        "corpus",
        "c",
        {"stats.json": json.dumps(STATS), "sources.json": json.dumps(rows), "ledger.json": json.dumps(LEDGER)},
        settings={"languages": ["en"], "decontaminate": {"benchmarks": ["pubmedqa"]}, "scrub_contacts": True},
        sources=SOURCE_FILES,
        **{"corpus-shard/guidelines-00000": shard},
    )
    curves = {"metrics.jsonl": "".join(json.dumps(row) + "\n" for row in METRICS)}
    facts = {"layout": "TP4 × PP1 × DP1", "peak_lr": 3e-4, "iterations": 2, "tokens": 6_553_600}
    base = BaseModel.new({"hidden_size": 128}, seed=1)
    files = curves | {"model/model.safetensors": "w" * 100, "usage.json": json.dumps([START, START])}
    pretrained = make("pretrain", "p", files, facts | base.as_metadata(), TRAINED, corpus=corpus)
    files = curves | {"model/model.safetensors": "x" * 100}
    tuned = make("sft", "s", files, facts, TRAINED, sources=["eval/medqa.jsonl"], corpus=corpus, model=pretrained)
    quality = {"kl_per_token": 0.001, "top1_agreement": 0.99, "bytes_before": 100}
    files = {"quality.json": json.dumps(quality), "model/model.safetensors": "q" * 30}
    files["model-gemm/model.safetensors"] = "g" * 29  # the same model, not another one
    quantized = make("awq", "q", files, settings={"group_size": 32}, corpus=corpus, model=tuned)
    models = {"pretrained": ("pretrained", pretrained), "tuned": ("sft", tuned), "quantized": ("awq", quantized)}
    evaluations = {
        f"{role}_evaluation": make(
            "evaluation",
            f"e-{label}",
            {"results.json": json.dumps([result(label, 0.5)])},
            {"model": label, "pubmedqa/top_token/accuracy": 0.5},
            model=model,
        )
        for role, (label, model) in models.items()
    }
    return {"corpus": corpus, "pretrained": pretrained, "tuned": tuned, "quantized": quantized, **evaluations}
