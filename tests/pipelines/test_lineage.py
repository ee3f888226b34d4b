"""`meditron lineage`: what is printed of a version, for people and for programs."""

import json

import pytest

from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.manifest import Manifest
from components.platform.storage import sha256
from components.platform.tracking.models import ModelRegistry
from components.platform.tracking.runs import stage_run
from components.platform.tracking.submissions import record_submission, submission_tags
from components.registry.lineage import lineage_tags
from pipelines.cli import main
from pipelines.submission import Submission


@pytest.fixture
def version(tmp_path, mlflow_uri, monkeypatch):
    """A version of a model that was fine-tuned on one file, and evaluated; registered by a run that was recorded."""
    monkeypatch.setenv("KFP_RUN_ID", "run-1")
    tracking = TrackingSettings(uri=mlflow_uri, artifacts=str(tmp_path / "artifacts"))
    platform = PlatformSettings(data=str(tmp_path), workspace=str(tmp_path / "runs"), tracking=tracking)
    question = tmp_path / "questions.jsonl"
    question.write_text("{}\n")

    def make(kind, metadata=None, **made_by):
        folder = tmp_path / "runs" / kind / "1"
        folder.mkdir(parents=True)
        (folder / "content").write_text(kind)
        manifest = Manifest.of_folder(kind, folder, made_by={"code": "c0de"} | made_by, metadata=metadata or {})
        manifest.save(folder / "manifest.json")
        return manifest

    sources = {"questions.jsonl": f"sha256:{sha256(question)}"}
    tuned = make("sft", sources=sources, source_bytes={"questions.jsonl": 3})
    quantized = make("awq", inputs={"model": tuned.digest}, places={"model": tuned.uri})
    scores = make("evaluation", {"pubmedqa/top_token/accuracy": 0.625}, inputs={"model": quantized.digest})
    artifacts = {"tuned": tuned, "quantized": quantized, "quantized_evaluation": scores}
    submission = Submission.of("laptop", data=str(tmp_path))
    record_submission(platform, submission.to_json())
    with stage_run(platform, "register", {}) as run:
        registry = ModelRegistry(platform.tracking.uri)
        tags = lineage_tags(artifacts) | submission_tags(platform)
        version = registry.register("tiny", f"{quantized.uri}/model", run.run_id, tags)
        registry.set_alias(version, "champion")
    return version


@pytest.fixture
def lineage(version, mlflow_uri):
    return lambda *arguments: main(["lineage", "--tracking-uri", mlflow_uri, *arguments])


def test_the_walk_for_people(lineage, version, capsys, tmp_path, mlflow_uri):
    assert lineage("--model", "tiny@champion") == 0
    shown = capsys.readouterr().out
    for expected in (
        "tiny version 1  (champion)",
        f"quantized  {version.tags['quantized.digest'][:12]}  code c0de  {tmp_path}/runs/awq/1",
        "1 file  3 bytes",
        "pubmedqa/top_token  0.625",
        f"recipe (SHA-256)  {version.tags['meditron.recipe']}",
        f"meditron rerun --mlflow-run {version.tags['meditron.pipeline_run']} --tracking-uri {mlflow_uri}",
    ):
        assert expected in shown, expected
    assert "questions.jsonl" not in shown
    assert lineage("--model", "tiny/1", "--files") == 0
    assert f"questions.jsonl  3 bytes  sha256:{sha256(tmp_path / 'questions.jsonl')}" in capsys.readouterr().out


def test_the_walk_for_programs(lineage, version, capsys, tmp_path):
    assert lineage("--model", "tiny/1", "--json", "--verify") == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["model"], record["version"], record["aliases"]) == ("tiny", 1, ["champion"])
    assert record["verification"]["problems"] == []
    by_role = {artifact["role"]: artifact for artifact in record["artifacts"]}
    [file] = by_role["tuned"]["sources"][""]
    assert file == {"name": "questions.jsonl", "bytes": 3, "digest": f"sha256:{sha256(tmp_path / 'questions.jsonl')}"}
    assert by_role["quantized"]["inputs"] == {"model": by_role["tuned"]["digest"]}


def test_a_change_fails(lineage, capsys, tmp_path):
    assert lineage("--model", "tiny@champion", "--verify") == 0
    assert "All is as it was: 3 artifacts, 1 source files." in capsys.readouterr().out
    (tmp_path / "questions.jsonl").write_text("[]\n")
    assert lineage("--model", "tiny@champion", "--verify") == 1
    assert "questions.jsonl: changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("tiny", "expected NAME@ALIAS or NAME/VERSION"),
        ("tiny/x", "expected NAME@ALIAS or NAME/VERSION"),
        ("tiny@best", "no version of model tiny has the alias best"),
        ("tiny/7", "no version 7 of model tiny"),
    ],
)
def test_what_is_not_there(lineage, capsys, model, says):
    assert lineage("--model", model) == 1
    assert says in capsys.readouterr().err


def test_mlflow_has_to_be_named(capsys, tmp_path):
    assert main(["lineage", "--model", "tiny/1"]) == 1
    assert "give --recipe or --tracking-uri" in capsys.readouterr().err
    assert main(["lineage", "--model", "tiny/1", "--tracking-uri", f"sqlite:///{tmp_path}/none.db"]) == 1
    assert "no such file" in capsys.readouterr().err
