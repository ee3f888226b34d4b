"""A run of one machine is repeated on this machine; what would make it another run is told."""

import pytest

from components.platform.tracking.submissions import record_submission
from components.platform.tracking.tracker import Tracker
from pipelines.cli import main
from pipelines.recipe import load_recipe, recipe_path
from pipelines.rerun import runs_here
from pipelines.submission import Submission
from pipelines.versions import code_version


@pytest.fixture
def recorded(tmp_path, mlflow_uri, monkeypatch):
    """A laptop's run that MLflow knows, in its folder: its id, and its submission."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KFP_RUN_ID", "run-1")
    # Of its own name: MLflow keeps connections by address, and this one does not say which folder
    database = f"{tmp_path.name}.db"
    (tmp_path / "mlflow.db").rename(database)
    recipe = recipe_path("laptop").read_text().replace("runs/mlflow.db", database)
    (tmp_path / "recipe.yaml").write_text(recipe)
    submission = Submission.of("recipe.yaml", data=str(recipe_path("laptop").parents[1] / "sample"))
    record_submission(submission.recipe.platform, submission.to_json())
    return Tracker(submission.recipe.platform).parent_run(), submission


@pytest.fixture
def ran(monkeypatch):
    """What was run here, instead of running it."""
    submissions = []
    monkeypatch.setattr("pipelines.cluster_cli.run_here", submissions.append)
    return submissions


@pytest.fixture
def rerun(recorded, tmp_path):
    uri = f"sqlite:///{tmp_path.name}.db"
    return lambda *arguments: main(["rerun", "--mlflow-run", recorded[0], "--tracking-uri", uri, *arguments])


def test_the_very_same_submission_runs_here(recorded, rerun, ran):
    assert rerun() == 0
    assert ran == [recorded[1]]


def test_other_code_is_told_and_taken(recorded, rerun, ran, monkeypatch, capfd):
    _, submission = recorded
    monkeypatch.setattr("pipelines.rerun.code_version", lambda: "f" * 16)
    assert rerun() == 0
    assert f"warning: the run was made with code {submission.code}, this is ffffffffffffffff" in capfd.readouterr().err
    [again] = ran
    assert (again.code, again.text, again.data) == ("f" * 16, submission.text, submission.data)
    assert submission.code == code_version()


def test_from_another_folder_its_paths_would_be_others(recorded, ran, tmp_path, monkeypatch, capfd):
    run_id, _ = recorded
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    arguments = ["rerun", "--mlflow-run", run_id, "--tracking-uri", f"sqlite:///{tmp_path}/{tmp_path.name}.db"]
    assert main(arguments) == 1
    assert "go to that folder, and run this again" in capfd.readouterr().err
    assert ran == []


def test_which_recipes_are_for_one_machine(monkeypatch):
    laptop = load_recipe("laptop")
    assert runs_here(laptop)
    assert not runs_here(load_recipe("meditron-7b"))
    kubeflow = laptop.cluster.kubeflow.model_copy(update={"host": "http://kfp"})
    cluster = laptop.cluster.model_copy(update={"kubeflow": kubeflow})
    assert not runs_here(laptop.model_copy(update={"cluster": cluster}))
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "http://kfp")
    assert not runs_here(laptop)


def test_where_the_environment_names_a_server_local_says_here(rerun, ran, monkeypatch):
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "http://kfp")
    assert rerun("--local") == 0
    assert len(ran) == 1
