"""What a run in containers refuses before and while it starts; tests/images runs it for real."""

import docker
import pytest

from components.platform.errors import SettingsError, UserError
from pipelines.containers import container_steps
from pipelines.recipe import load_recipe


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody-listens.sock")
    return load_recipe("laptop")


def with_server(recipe):
    tracking = recipe.platform.tracking.model_copy(update={"uri": "http://localhost:5000"})
    cluster = recipe.cluster.model_copy(update={"secrets": {"s3": {"key": "AWS_SECRET_ACCESS_KEY", "id": "NOT_SET"}}})
    platform = recipe.platform.model_copy(update={"tracking": tracking})
    return recipe.model_copy(update={"platform": platform, "cluster": cluster})


def test_a_database_file_is_refused_as_the_images_hold_no_database(recipe):
    with pytest.raises(SettingsError, match=r"sqlite:///runs/mlflow.db.*mlflow server"), container_steps(recipe, "1"):
        pass


def test_docker_that_does_not_answer_is_an_error_without_traceback(recipe):
    with pytest.raises(UserError, match="Docker: "), container_steps(with_server(recipe), "1"):
        docker.from_env()


def test_containers_see_this_folder_the_data_and_named_variables_only(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    monkeypatch.setenv("ANOTHER", "a-secret")
    recipe = with_server(recipe)
    with container_steps(recipe, "run-1") as runner:
        arguments = runner.container_run_args
    mounts = {mount["Target"]: mount["ReadOnly"] for mount in arguments["mounts"]}
    assert mounts == {str(tmp_path): False, str(tmp_path / "runs"): False, recipe.platform.data: True}
    assert arguments["environment"] == {"KFP_RUN_ID": "run-1", "AWS_SECRET_ACCESS_KEY": "a-secret"}
