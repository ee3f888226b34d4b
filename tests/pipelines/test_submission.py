"""The same submission compiles to the same bytes, also when MLflow is all that is left of it."""

import dataclasses
import json

import mlflow
import pytest

from components.platform.errors import InputError, SettingsError, UserError
from components.platform.predecessor import PREDECESSOR_TAG
from components.platform.tracking.notes import note_on_pipeline
from components.platform.tracking.runs import stage_run
from components.platform.tracking.submissions import record_submission
from components.platform.tracking.tracker import Tracker
from pipelines import versions
from pipelines.cli import main
from pipelines.compiling import compile_submission
from pipelines.images import images, pinned, read_lock, unpinned
from pipelines.recipe import load_recipe
from pipelines.rerun import earlier_submission
from pipelines.submission import Submission
from tests.pipelines.conftest import cluster_recipe
from tests.pipelines.kfp_fake import KfpFake

DIGEST = f"sha256:{'0123456789abcdef' * 4}"
IMAGES = [f"meditron/{name}:0.1.0" for name in ("pipeline", "quantize", "evaluate", "train")]


@pytest.fixture
def lock(tmp_path):
    path = tmp_path / "images.lock"
    path.write_text("".join(f"{image}: {DIGEST}\n" for image in IMAGES))
    return path


@pytest.fixture
def recorded(tmp_path, kfp, lock, mlflow_uri, monkeypatch):
    """A submission as MLflow keeps it: the address of MLflow, and the ids of the run and of a stage of it."""
    monkeypatch.setenv("KFP_RUN_ID", "run-1")
    tracking = {"uri": mlflow_uri, "artifacts": str(tmp_path / "artifacts")}
    path = cluster_recipe(tmp_path, kfp.url, platform={"tracking": tracking})
    submission = Submission.of(path, images=read_lock(lock))
    platform = submission.recipe.platform
    record_submission(platform, submission.to_json())
    with stage_run(platform, "corpus", {}) as stage:
        pass
    return submission, mlflow_uri, Tracker(platform).parent_run(), stage.run_id


def test_a_rerun_compiles_to_the_very_same_bytes(recorded, tmp_path, kfp, capfd):
    submission, uri, run_id, stage_id = recorded
    compile_submission(submission, tmp_path / "first.yaml")
    (tmp_path / "recipe.yaml").unlink()
    for number, identifier in enumerate((run_id, stage_id)):
        output = tmp_path / f"again-{number}.yaml"
        arguments = ["rerun", "--mlflow-run", identifier, "--tracking-uri", uri, "-o", str(output)]
        assert main(arguments) == 0, capfd.readouterr().err
        assert output.read_bytes() == (tmp_path / "first.yaml").read_bytes()
    assert main(["rerun", "--mlflow-run", run_id, "--tracking-uri", uri, "--detach"]) == 0
    assert [version["name"] for version in kfp.versions.values()] == [submission.version_name]
    assert len(kfp.runs) == 1


def test_a_retraining_is_run_again_from_the_same_version(recorded):
    """The champion may be another one by now."""
    submission, uri, run_id, stage_id = recorded
    platform = submission.recipe.platform
    record_submission(platform, dataclasses.replace(submission, continue_from="champion").to_json())
    assert earlier_submission(uri, run_id).continue_from == "champion", "it ended before it found one"
    note_on_pipeline(platform, {PREDECESSOR_TAG: "3"})
    for identifier in (run_id, stage_id):
        assert earlier_submission(uri, identifier) == dataclasses.replace(submission, continue_from="3")


def test_what_a_person_finds_in_mlflow(recorded, tmp_path):
    submission, uri, run_id, _ = recorded
    client = mlflow.MlflowClient(uri)
    tags = client.get_run(run_id).data.tags
    assert tags["meditron.code"] == submission.code == versions.code_version()
    assert tags["meditron.version"] == "0.1.0"
    assert tags.get("meditron.commit") == versions.commit()
    assert {tags[f"meditron.image.{image.replace(':', '/')}"] for image in IMAGES} == {DIGEST}
    recipe = client.download_artifacts(run_id, "recipe.yaml", str(tmp_path))
    assert open(recipe).read() == submission.text  # noqa: PTH123, SIM115


def test_other_code_would_make_something_else_of_it(recorded, monkeypatch, capfd):
    submission, uri, run_id, _ = recorded
    monkeypatch.setattr("pipelines.rerun.code_version", lambda: "f" * 16)
    assert main(["rerun", "--mlflow-run", run_id, "--tracking-uri", uri, "-o", "x.yaml"]) == 1
    message = capfd.readouterr().err
    assert f"the run was made with code {submission.code}, this is ffffffffffffffff" in message
    assert f"check out commit {submission.commit or 'unknown'}" in message


def test_a_run_that_is_not_there_or_has_no_record(recorded, monkeypatch, capfd):
    submission, uri, *_ = recorded
    assert main(["rerun", "--mlflow-run", "0" * 32, "--tracking-uri", uri]) == 1
    assert f"MLflow run {'0' * 32} at {uri}: no submission.json to be had" in capfd.readouterr().err
    monkeypatch.setenv("KFP_RUN_ID", "run-2")
    bare = Tracker(submission.recipe.platform).parent_run()
    assert main(["rerun", "--mlflow-run", bare, "--tracking-uri", uri]) == 1
    assert "no submission.json to be had" in capfd.readouterr().err
    assert main(["rerun", "--mlflow-run", bare]) == 1
    assert "give --tracking-uri or set MLFLOW_TRACKING_URI" in capfd.readouterr().err


def test_the_name_of_a_version_follows_recipe_images_and_code(tmp_path, kfp, lock):
    recipe = cluster_recipe(tmp_path, kfp.url)
    one = Submission.of(recipe)
    assert Submission.of(recipe).version_name == one.version_name
    assert Submission.from_json(one.to_json()) == one
    others = [
        Submission.of(recipe, images=read_lock(lock)),
        Submission.of(recipe, data="s3://elsewhere"),
        dataclasses.replace(one, code="0" * 16),
        Submission.of(recipe, continue_from="champion"),
        Submission.of(cluster_recipe(tmp_path, kfp.url, pretrain={"seed": 2})),
    ]
    assert len({submission.version_name for submission in [one, *others]}) == 6
    elsewhere = dataclasses.replace(one, commit="another")
    assert elsewhere.version_name == one.version_name, "the same code in another commit"


def test_the_record_of_a_submission_is_checked():
    for content in ("{", "[]", json.dumps({"text": "x"}), json.dumps({"unknown": 1})):
        with pytest.raises(InputError, match="not the record of a submission"):
            Submission.from_json(content)


def test_the_version_of_the_code_sees_a_changed_line(tmp_path, monkeypatch):
    for package in ("components", "pipelines/recipes"):
        (tmp_path / package).mkdir(parents=True)
    monkeypatch.setattr(versions, "ROOT", tmp_path)
    code_version = versions.code_version.__wrapped__

    def after(name, content):
        (tmp_path / name).write_text(content)
        return code_version()

    seen = [after("components/a.py", "1"), after("components/a.py", "2"), after("pipelines/b.jinja", "")]
    assert len(set(seen)) == 3
    assert after("pipelines/recipes/mine.yaml", "name: x") == after("components/notes.txt", "x") == seen[-1]


def test_outside_of_git_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert versions.commit.__wrapped__() is None


def test_every_image_is_named_by_its_digest():
    recipe = load_recipe("meditron-7b")
    digests = dict.fromkeys(images(recipe), DIGEST)
    assert unpinned(recipe) == images(recipe)
    fixed = pinned(recipe, digests)
    assert images(fixed) == [f"{image}@{DIGEST}" for image in images(recipe)]
    assert fixed.platform.launcher.pytorchjob.image.endswith(DIGEST)
    assert unpinned(fixed) == []
    assert pinned(fixed, {}) == fixed, "what has a digest keeps it"


def test_an_image_without_a_digest_is_named():
    with pytest.raises(SettingsError, match=r"no digest is known of meditron/pipeline:0.1.0, .*; add them to the file"):
        pinned(load_recipe("meditron-7b"), {"meditron/quantize:0.1.0": DIGEST})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a\n", "expected lines such as"),
        ("a:1: sha256:12\n", "a:1: expected sha256: and 64 hex digits, found 'sha256:12'"),
        ("a: {b: [}\n", "not valid YAML"),
    ],
)
def test_a_lock_file_that_is_none(tmp_path, content, message):
    (tmp_path / "images.lock").write_text(content)
    with pytest.raises(InputError, match=message):
        read_lock(tmp_path / "images.lock")
    with pytest.raises(UserError, match="expected a file of image: digest"):
        read_lock(tmp_path / "none.lock")


def test_another_place_for_the_recipe_changes_nothing(tmp_path):
    kfp = KfpFake()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        submission = Submission.of(cluster_recipe(tmp_path / folder, kfp.url))
        compile_submission(submission, tmp_path / f"{folder}.yaml")
    assert (tmp_path / "a.yaml").read_bytes() == (tmp_path / "b.yaml").read_bytes()
