"""Each stage runs by itself, without KFP."""

import subprocess
import sys
from pathlib import Path

import pytest

from components.platform.manifest import Manifest
from pipelines.recipe import RECIPES

STAGES = ("corpus", "training", "quantization", "evaluation", "registry")


def run(folder: Path, stage: str, *arguments: str) -> str:
    command = [sys.executable, "-m", f"components.{stage}", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("stage", STAGES)
def test_help(tmp_path, stage):
    assert run(tmp_path, stage, "--help").startswith(f"usage: python -m components.{stage} ")


def test_corpus_of_a_shipped_recipe(tmp_path):
    *_, uri = run(tmp_path, "corpus", "--recipe", str(RECIPES / "laptop.yaml")).splitlines()
    assert Path(uri).parent == tmp_path / "runs" / "corpus"
    corpus = Manifest.load(uri)
    assert corpus.metadata["groups"]["guidelines"]["train"]["documents"] == 21
    found = corpus.read_json("contamination.json")
    assert list(found) == ["pubmedqa", "medqa-4-option", "mmlu-medical"]
    assert found["pubmedqa"]["matches"] >= 1  # the sample has one planted
    assert not any(benchmark["documents_left"] for benchmark in found.values())
