"""All recipes compile to the same DAG; what differs are settings and placement."""

import json
from pathlib import Path

import pytest
import yaml

from pipelines.cli import main
from pipelines.recipe import RECIPES, load_recipe

NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))
DEPENDENCIES = {
    "corpus": set(),
    "pretrain": {"corpus"},
    "sft": {"corpus", "pretrain"},
    "quantize": {"corpus", "sft"},
    "evaluate": {"pretrain"},
    "evaluate-2": {"sft"},
    "evaluate-3": {"evaluate-2", "quantize"},
    "register": {"corpus", "pretrain", "sft", "quantize", "evaluate", "evaluate-2", "evaluate-3"},
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    def compile_recipe(name: str) -> tuple[dict, dict]:
        output = tmp_path_factory.mktemp(name) / "pipeline.yaml"
        assert main(["compile", "--recipe", name, "-o", str(output)]) == 0
        pipeline, platform = yaml.safe_load_all(output.read_text())
        return pipeline, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]

    return {name: compile_recipe(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_the_dag_is_the_same(compiled, name):
    tasks = compiled[name][0]["root"]["dag"]["tasks"]
    assert {task: set(spec.get("dependentTasks", [])) for task, spec in tasks.items()} == DEPENDENCIES


@pytest.mark.parametrize("name", NAMES)
def test_the_corpus_is_a_dag_of_its_own(compiled, name):
    """Shards are prepared and tokenized side by side; what decides over all of them stands between."""
    pipeline = compiled[name][0]
    components = pipeline["components"]
    tasks = components["comp-corpus"]["dag"]["tasks"]
    order = {task: set(spec.get("dependentTasks", [])) for task, spec in tasks.items()}
    prepare, tokenize = (task for task in order if task.startswith("for-loop"))
    assert order == {
        "plan-corpus": set(),
        prepare: {"plan-corpus"},
        "decide-on-documents": {"plan-corpus", prepare},
        tokenize: {"decide-on-documents"},
        "build-corpus": {"plan-corpus", "decide-on-documents", tokenize},
    }
    corpus_tasks = load_recipe(name).cluster.corpus_tasks
    for loop, inner in ((prepare, "prepare-documents"), (tokenize, "tokenize-documents")):
        assert json.loads(tasks[loop]["parameterIterator"]["items"]["raw"]) == list(range(corpus_tasks))
        assert list(components[f"comp-{loop}"]["dag"]["tasks"]) == [inner]


@pytest.mark.parametrize("name", NAMES)
def test_every_step_knows_its_run(compiled, name):
    for executor in compiled[name][1].values():
        fields = {entry["name"]: entry["fieldPath"] for entry in executor["fieldPathAsEnv"]}
        assert fields == {"KFP_RUN_ID": "metadata.labels['pipeline/runid']"}


@pytest.mark.parametrize("name", ["meditron-7b", "meditron-70b"])
def test_cluster_steps_get_images_resources_and_secrets(compiled, name):
    pipeline, platform = compiled[name]
    executors = pipeline["deploymentSpec"]["executors"]
    for label, executor in executors.items():
        assert executor["container"]["image"].startswith("meditron/"), label
        secrets = {secret["secretName"] for secret in platform[label]["secretAsEnv"]}
        assert secrets == {"meditron-s3", "meditron-mlflow"}
    gpu = executors["exec-quantize"]["container"]["resources"]["accelerator"]
    assert (gpu["resourceType"], gpu["resourceCount"]) == ("nvidia.com/gpu", "1")
    assert platform["exec-quantize"]["nodeSelector"]["labels"]
    assert platform["exec-quantize"]["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert "accelerator" not in executors["exec-pretrain"]["container"].get("resources", {}), "ranks get GPUs, not it"


@pytest.mark.parametrize("name", NAMES)
def test_settings_travel_whole(compiled, name):
    """Every number arrives as it stands in the recipe (KFP would turn the integers of a dict into floats)."""
    recipe = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    parameters = compiled[name][0]["root"]["dag"]["tasks"]["pretrain"]["inputs"]["parameters"]
    settings = json.loads(parameters["settings"]["runtimeValue"]["constant"])
    assert settings["global_batch_size"] == recipe["pretrain"]["global_batch_size"]
    assert isinstance(settings["global_batch_size"], int)


def test_no_path_of_this_machine_in_the_yaml(compiled):
    for name in ("meditron-7b", "meditron-70b"):
        assert str(Path.cwd()) not in yaml.safe_dump(compiled[name][0])
