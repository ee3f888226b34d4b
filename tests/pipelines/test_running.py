"""How kfp.local is set up for a run."""

from types import SimpleNamespace

from kfp import local
from kfp.local.config import LocalExecutionConfig
from kfp.local.docker_task_handler import DockerTaskHandler

from pipelines import running
from pipelines.recipe import load_recipe


def test_a_container_sees_outputs_and_workspace(monkeypatch):
    """KFP mounts folders by their place on the host: were both one, it would mount the workspace alone."""
    mounted = {}

    def pipeline(_):
        def start():
            root = LocalExecutionConfig.instance.pipeline_root
            handler = DockerTaskHandler("image", [], root, local.DockerRunner())
            mounted.update(handler.get_volumes_to_mount(), root=root)

        return start

    monkeypatch.setattr(running, "meditron", pipeline)
    monkeypatch.setattr(running, "artifact_of", lambda *_: None)
    monkeypatch.setattr(running, "finish_pipeline", lambda *_: None)
    monkeypatch.setenv("KFP_RUN_ID", "")  # what the run sets is taken back after the test
    monkeypatch.setenv(running.RUNNER_VARIABLE, "")
    running.run(SimpleNamespace(recipe=load_recipe("laptop")))
    root = mounted.pop("root")
    assert mounted[root]["bind"] == root
    assert {mount["bind"] for place, mount in mounted.items() if place != root} == {"/kfp-workspace"}
    assert all(place.startswith(root) for place in mounted), "both go with the run"
