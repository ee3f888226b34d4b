"""Runs one after the other: the second goes on from the first with a few new documents, the third finds nothing new."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from components.platform.manifest import Manifest
from components.platform.tracking.models import ModelRegistry
from tests.pipelines.test_laptop_run import MEDITRON, SAMPLE, finished, make_home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TOPICS = "measles", "gout", "asthma", "scurvy", "migraine", "sepsis", "eczema", "anaemia"


def note(number: int, topic: str) -> dict[str, str]:
    text = f"Consider {topic} when the story fits it. " + " ".join(
        f"Step {step}: ask a patient with {topic} about question {step * number + 7}, and write the answer down."
        for step in range(1, 9)
    )
    return {"source": "test", "title": f"A note on {topic}", "text": text, "url": f"https://example.org/{number}"}


def write_notes(home: Path, name: str, topics: tuple[str, ...]) -> None:
    rows = [note(number, topic) for number, topic in enumerate(topics)]
    (home / "data/guidelines" / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def meditron(home: Path, *options: str) -> str:
    command = [MEDITRON, "run", "--recipe", "recipe.yaml", "--data", "data", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """The laptop recipe cut down further: one process trains, and two questions are asked."""
    folder = make_home(tmp_path_factory.mktemp("home"))
    shutil.copytree(SAMPLE, folder / "data")
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe["corpus"]["sources"][0]["paths"] = ["guidelines/*.jsonl"]
    recipe["corpus"]["near_duplicates"] = None  # the notes are alike
    recipe["pretrain"]["base"]["new"] |= {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    batches = {"layout": {}, "save_interval": 100, "micro_batch_size": 2, "global_batch_size": 4}
    recipe["pretrain"] |= batches | {"train_iters": 8}
    recipe["pretrain"]["retraining"]["epochs"] = 1
    recipe["sft"] |= batches | {"train_iters": 2}
    recipe["evaluation"] |= {"benchmarks": ["pubmedqa"], "modes": ["top_token"], "max_items": 2}
    recipe["base_evaluation"] |= {"max_items": 2}
    recipe["quantization"] |= {"formats": ["compressed-tensors"]}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder


def registry(home: Path) -> ModelRegistry:
    return ModelRegistry(f"sqlite:///{home}/runs/mlflow.db")


def make_champion(home: Path, number: int) -> dict[str, Any]:
    version = registry(home).get("meditron-laptop", number)
    registry(home).set_alias(version, "champion")
    return version.tags


def newest_run(home: Path) -> dict[str, str]:
    client = mlflow.MlflowClient(f"sqlite:///{home}/runs/mlflow.db")
    [experiment] = [found for found in client.search_experiments() if found.name == "meditron"]
    runs = client.search_runs([experiment.experiment_id], "tags.`meditron.stage` = 'pipeline'", max_results=1)
    assert runs[0].info.status == "FINISHED"
    return runs[0].data.tags


@pytest.fixture(scope="module")
def first(home) -> dict[str, Any]:
    """The tags of the version that a whole run made; it is the champion."""
    meditron(home)
    return make_champion(home, 1)


@pytest.fixture(scope="module")
def second(home, first) -> dict[str, Any]:
    """Those of the version that went on from it with a few new documents; it is the champion now."""
    write_notes(home, "news.jsonl", TOPICS)
    output = meditron(home, "--continue-from", "champion")
    sentence = f"news since meditron-laptop version 1 (corpus {first['corpus.digest'][:12]}): 12 files known, 1 new"
    assert f"{sentence} (guidelines/news.jsonl)\n" in output
    return make_champion(home, 2)


def test_a_whole_run_knows_nothing_of_retraining(home, first):
    assert "predecessor.version" not in first
    assert "meditron.news" not in newest_run(home)
    assert Manifest.load(first["corpus.uri"]).read_json("stats.json")["groups"]["papers"]["train"]["documents"]


def test_only_what_is_new_is_in_the_second_corpus(second):
    counts = Manifest.load(second["corpus.uri"]).read_json("stats.json")["groups"]
    assert sum(counts["guidelines"][split]["documents"] for split in ("train", "validation")) == len(TOPICS)
    assert not any(counts[group]["train"]["documents"] for group in ("papers", "abstracts"))


def test_the_second_run_goes_on_from_the_weights_of_the_first(home, first, second):
    assert second["predecessor.version"] == newest_run(home)["meditron.predecessor"] == "1"
    one, two = (Manifest.load(tags["pretrained.uri"]) for tags in (first, second))
    assert two.made_by["inputs"] == {
        "corpus": second["corpus.digest"],
        "base": first["pretrained.digest"],
        "before/1": first["corpus.digest"],
    }
    before, after = one.metadata["final_validation_loss"], two.metadata["first_validation_loss"]
    assert after == pytest.approx(before, abs=1e-5), "it begins where the first one ended"


def test_both_were_asked_the_same(first, second):
    evaluations = [Manifest.load(tags["quantized_evaluation.uri"]) for tags in (first, second)]
    asked = [[(row["id"], row["prompt"]) for row in found.read_jsonl("items.jsonl")] for found in evaluations]
    assert asked[0] == asked[1] != []


def test_a_renamed_file_is_nothing_new(home, second):
    (home / "data/guidelines/news.jsonl").rename(home / "data/guidelines/renamed.jsonl")
    models = finished(home, "pretrain")
    output = meditron(home, "--continue-from", "champion")
    sentence = f"nothing new since meditron-laptop version 2 (corpus {second['corpus.digest'][:12]}): 13 files known"
    assert f"{sentence}, 0 new\n" in output
    assert output.endswith("The run has ended early: too little is new. The model stays as it is.\n")
    assert newest_run(home)["meditron.news"] == f"{sentence}, 0 new"
    assert finished(home, "pretrain") == models


def test_a_new_file_of_known_documents_is_too_little(home, second):
    write_notes(home, "known.jsonl", TOPICS[:3])
    models = finished(home, "pretrain")
    output = meditron(home, "--continue-from", "champion")
    assert "0 new training tokens, retraining.min_tokens is 300: wait\n" in output
    assert "The run has ended early" in output
    assert finished(home, "pretrain") == models
