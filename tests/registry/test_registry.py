"""The registry stage tells about a run what the stages wrote about themselves, and only of one run."""

import shutil

import pytest

from components.platform.errors import InputError
from components.platform.manifest import Manifest
from components.platform.predecessor import Predecessor
from components.registry import stage
from components.registry.settings import RegistrySettings


def test_summary_and_report(artifacts, platform):
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
    page = manifest.fetch("report.html").read_text()
    assert page.count("<svg") == 2
    assert "0.400 – 0.600" in page


def test_artifacts_of_two_runs_are_refused(artifacts, platform, tmp_path):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "stats.json").write_text("{}")
    artifacts["corpus"] = Manifest.of_folder("corpus", tmp_path / "foreign")
    with pytest.raises(InputError, match=r"pretrained was made from corpus .* not part of this run"):
        stage.run(RegistrySettings(model_name="tiny"), platform, **artifacts)


def test_a_run_that_goes_on_from_another_is_made_from_that_ones_artifacts(artifacts, platform, tmp_path):
    """Its corpus adds to the one before, its pretrained model began as the one before; others are still refused."""
    before = {}
    for role in ("corpus", "pretrained"):
        folder = shutil.copytree(artifacts[role].uri, tmp_path / f"before-{role}")
        (folder / "content").write_text(role)
        before[role] = Manifest.of_folder(role, folder, made_by=artifacts[role].made_by)
        before[role].save(folder / "manifest.json")
    inputs = artifacts["pretrained"].made_by["inputs"]
    inputs |= {"base": before["pretrained"].digest, "before/1": before["corpus"].digest}
    version = Predecessor("tiny", 1, corpus=before["corpus"].uri, pretrained=before["pretrained"].uri)
    with pytest.raises(InputError, match=r"pretrained was made from base .* not part of this run"):
        stage.run(RegistrySettings(model_name="tiny"), platform, **artifacts)
    stage.run(RegistrySettings(model_name="tiny"), platform, **artifacts, predecessor=version)
    inputs["base"] = "f" * 64
    with pytest.raises(InputError, match="pretrained was made from base ffffffffffff"):
        stage.run(RegistrySettings(model_name="tiny"), platform, **artifacts, predecessor=version)
