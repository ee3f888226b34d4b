"""All recipes compile to the same DAG; what differs are settings and placement."""

import json
from pathlib import Path

import pytest
import yaml

from components.platform.context import PlatformSettings
from pipelines.cli import main
from pipelines.recipe import RECIPES, load_recipe
from pipelines.versions import code_version

NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))
DEPENDENCIES = {
    "record-submission": set(),
    "corpus": {"record-submission"},
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


@pytest.mark.parametrize("name", NAMES)
def test_kfp_caches_nothing(compiled, name):
    """Its cache would not see new source files."""
    assert "enableCache" not in yaml.safe_dump(compiled[name][0])


@pytest.mark.parametrize("name", NAMES)
def test_the_run_is_recorded_as_it_was_submitted(compiled, name):
    parameters = compiled[name][0]["root"]["dag"]["tasks"]["record-submission"]["inputs"]["parameters"]
    record = json.loads(parameters["submission"]["runtimeValue"]["constant"])
    assert record["text"] == (RECIPES / f"{name}.yaml").read_text()
    assert record["code"] == code_version()


@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_placed_as_the_recipe_says(compiled, name):
    """Image, resources, node pool, secrets, claims, variables and retries of each step, one by one."""
    pipeline, platform = compiled[name]
    cluster = load_recipe(name).cluster
    for step, label, task, executor in steps(pipeline):
        placement, kubernetes = cluster.steps.get(step, cluster.default), platform[label]
        container = executor["container"]
        assert container["image"] == (placement.image or "meditron/pipeline"), label
        resources = container.get("resources", {})
        assert resources.get("resourceCpuLimit") == placement.cpu, label
        assert resources.get("resourceMemoryLimit") == placement.memory, label
        gpus = {"resourceType": "nvidia.com/gpu", "resourceCount": str(placement.gpus)} if placement.gpus else {}
        accelerator = resources.get("accelerator", {})
        assert {key: accelerator[key] for key in gpus} == gpus
        assert bool(accelerator) == bool(gpus), label
        assert kubernetes.get("nodeSelector", {}).get("labels", {}) == placement.node_selector, label
        tolerations = [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in placement.tolerate]
        assert kubernetes.get("tolerations", []) == tolerations, label
        secrets = {
            secret["secretName"]: {entry["secretKey"]: entry["envVar"] for entry in secret["keyToEnv"]}
            for secret in kubernetes.get("secretAsEnv", [])
        }
        assert secrets == cluster.secrets, label
        claims = {mount["mountPath"]: mount["constant"] for mount in kubernetes.get("pvcMount", [])}
        assert claims == cluster.volume_claims, label
        assert {entry["name"]: entry["value"] for entry in container.get("env", [])} == cluster.env, label
        assert task.get("retryPolicy", {}).get("maxRetryCount", 0) == cluster.retries, label


@pytest.mark.parametrize("name", ["meditron-7b", "meditron-70b"])
def test_the_recipes_for_a_cluster_name_secrets_and_the_gpu_pool(name):
    """What the test above compares is there to compare."""
    cluster, pods = load_recipe(name).cluster, load_recipe(name).platform.launcher.pytorchjob
    variables = {variable for keys in cluster.secrets.values() for variable in keys.values()}
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "MLFLOW_TRACKING_PASSWORD"} <= variables
    assert not variables & (cluster.env.keys() | pods.env.keys())
    for step in ("quantize", "evaluate", "evaluate-2"):
        assert cluster.steps[step].gpus
        assert cluster.steps[step].node_selector == pods.node_selector != {}
        assert cluster.steps[step].tolerate == [toleration["key"] for toleration in pods.tolerations] != []
    assert pods.gpus_per_node == 8
    assert cluster.steps.keys().isdisjoint({"pretrain", "sft"}), "ranks get GPUs, not the step that starts them"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stage", ["pretrain", "sft"])
def test_the_pods_of_the_ranks_are_described_whole(compiled, name, stage):
    """What the step that starts a training job is told of its pods is what the recipe says."""
    parameters = compiled[name][0]["root"]["dag"]["tasks"][stage]["inputs"]["parameters"]
    told = PlatformSettings.model_validate_json(parameters["platform"]["runtimeValue"]["constant"])
    assert told.launcher == load_recipe(name).platform.launcher


def steps(pipeline: dict) -> list[tuple[str, str, dict, dict]]:
    """Name, label of its executor, task and executor of each step of the DAG, those of pipelines inside it too."""
    components, executors = pipeline["components"], pipeline["deploymentSpec"]["executors"]
    dags = [pipeline["root"], *components.values()]
    tasks = [item for dag in dags for item in dag.get("dag", {}).get("tasks", {}).items()]
    labels = [components[task["componentRef"]["name"]].get("executorLabel") for _, task in tasks]
    found = [(name, label, task, executors[label]) for (name, task), label in zip(tasks, labels, strict=True) if label]
    assert {label for _, label, *_ in found} == executors.keys(), "no step is left out"
    return found


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


@pytest.mark.parametrize("name", NAMES)
def test_a_retraining_is_the_same_behind_two_conditions(tmp_path, name):
    """Nothing new, or too little: the rest is skipped. All its steps are placed like those of a whole run."""
    assert main(["compile", "--recipe", name, "--continue-from", "champion", "-o", str(tmp_path / "p.yaml")]) == 0
    pipeline, _ = yaml.safe_load_all((tmp_path / "p.yaml").read_text())
    tasks, components = pipeline["root"]["dag"]["tasks"], pipeline["components"]
    assert tasks["look-for-news"]["dependentTasks"] == ["record-submission"]
    parameters = tasks["look-for-news"]["inputs"]["parameters"]
    assert parameters["continue_from"]["runtimeValue"]["constant"] == "champion"
    assert parameters["model"]["runtimeValue"]["constant"] == load_recipe(name).registry.model_name
    [news] = tasks.keys() - {"record-submission", "look-for-news"}
    condition = "inputs.parameter_values['pipelinechannel--look-for-news-Output'] != ''"
    assert tasks[news]["triggerPolicy"]["condition"] == condition
    tasks = components[f"comp-{news}"]["dag"]["tasks"]
    [enough] = tasks.keys() - {"corpus", "weigh-news"}
    condition = "inputs.parameter_values['pipelinechannel--weigh-news-Output'] == 'train'"
    assert tasks[enough]["triggerPolicy"]["condition"] == condition
    assert components[f"comp-{enough}"]["dag"]["tasks"].keys() == DEPENDENCIES.keys() - {"record-submission", "corpus"}
    placed = {step: executor["container"]["image"] for step, _, _, executor in steps(pipeline)}
    cluster = load_recipe(name).cluster
    assert placed == {s: cluster.steps.get(s, cluster.default).image or "meditron/pipeline" for s in placed}
