"""The whole DAG on this machine, at the smallest size: every stage real, eight ranks, KFP, MLflow."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import psutil
import pytest
import yaml
from huggingface_hub import ModelCard

from benchmarks.faults.attempt import Kill, attempt
from components.platform.manifest import Manifest
from pipelines.lineage import Lineage
from pipelines.recipe import RECIPES
from pipelines.versions import code_version
from tests.conftest import SECRET
from tests.pipelines.test_credentials import CREDENTIALS, assert_clean

SAMPLE = RECIPES.parent / "sample"

MEDITRON = str(Path(sys.executable).with_name("meditron"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def make_home(folder: Path, corpus_tasks: int = 1) -> Path:
    """A folder with the laptop recipe cut down to a few iterations."""
    recipe = yaml.safe_load((RECIPES / "laptop.yaml").read_text())
    recipe["cluster"]["corpus_tasks"] = corpus_tasks
    recipe["corpus"]["tokenizer"]["train"]["vocab_size"] = 512
    recipe["pretrain"] |= {"train_iters": 24, "lr_warmup_iters": 1, "sequence_length": 64, "save_interval": 2}
    recipe["sft"] |= {"train_iters": 6, "lr": 1e-3, "min_lr": 1e-4, "sequence_length": 1000, "save_interval": 1}
    recipe["sft"]["data"]["benchmarks"][0]["max_items"] = 32
    recipe["quantization"] |= {"calibration_documents": 4, "validation_documents": 2}
    recipe["evaluation"] |= {"max_items": 4}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_home(tmp_path_factory.mktemp("home"))


def start(home: Path, *arguments: str) -> subprocess.Popen:
    command = [MEDITRON, *(arguments or ("run", "--recipe", "recipe.yaml", "--data", str(SAMPLE)))]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | dict.fromkeys(CREDENTIALS, SECRET)
    log = (home / "log.txt").open("a")
    return subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=subprocess.STDOUT)


def output(home: Path) -> str:
    return (home / "log.txt").read_text()


def finished(home: Path, kind: str) -> list[Manifest]:
    return [Manifest.load(path) for path in sorted((home / "runs" / kind).glob("*/manifest.json"))]


def offspring(process: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def wait_for(condition, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.2)


def test_interrupted_in_pretraining_then_resumed_to_the_end(home):
    """Ctrl-C leaves no process behind and loses no finished work; running again completes every stage."""
    run = start(home)
    wait_for(lambda: list((home / "runs").glob("pretrain/*/checkpoints/*")) or run.poll() is not None)
    assert run.poll() is None, output(home)
    family = offspring(run)
    assert len(family) >= 8, "the ranks are running"
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=90) == 130, output(home)
    wait_for(lambda: not any(process.is_running() for process in family), seconds=20)
    assert not finished(home, "pretrain")
    [corpus] = finished(home, "corpus")

    assert start(home).wait(timeout=500) == 0, output(home)
    assert f"already made: {corpus.uri}" in output(home)
    kinds = {"corpus": 1, "pretrain": 1, "sft": 1, "awq": 1, "evaluation": 3, "registry": 1}
    assert {kind: len(finished(home, kind)) for kind in kinds} == kinds


def test_losses_fall(home):
    for stage in ("pretrain", "sft"):
        [manifest] = finished(home, stage)
        losses = [row["loss"] for row in manifest.read_jsonl("metrics.jsonl") if "loss" in row]
        iterations = [row["iteration"] for row in manifest.read_jsonl("metrics.jsonl") if "loss" in row]
        assert iterations == sorted(set(iterations)), "no iteration is recorded twice"
        assert losses[-1] < losses[0]


def test_everything_is_accounted_for_in_mlflow(home):
    client = mlflow.MlflowClient(f"sqlite:///{home}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("meditron")
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert [parent.info.status for parent in parents] == ["KILLED", "FINISHED"]
    children = {
        run.data.tags["meditron.stage"]: run
        for run in runs
        if run.data.tags.get("mlflow.parentRunId") == parents[-1].info.run_id
    }
    stages = {
        "corpus",
        "pretrain",
        "sft",
        "quantize",
        "evaluate-pretrained",
        "evaluate-sft",
        "evaluate-awq",
        "register",
    }
    assert set(children) == stages
    assert {run.info.status for run in children.values()} == {"FINISHED"}
    assert len(client.get_metric_history(children["pretrain"].info.run_id, "loss")) == 24
    assert children["pretrain"].data.params["layout.tensor_parallel_size"] == "2"
    assert children["sft"].data.tags["meditron.input.model"] == finished(home, "pretrain")[0].digest
    assert parents[-1].data.tags["meditron.code"] == code_version()
    recorded = client.download_artifacts(parents[-1].info.run_id, "recipe.yaml", str(home))
    assert yaml.safe_load(Path(recorded).read_text())["pretrain"]["train_iters"] == 24

    [version] = client.search_model_versions("name = 'meditron-laptop'")
    [quantized] = finished(home, "awq")
    assert version.source == f"{quantized.uri}/model"
    assert version.tags["quantized.digest"] == quantized.digest
    assert version.tags["meditron.recipe"] == hashlib.sha256((home / "recipe.yaml").read_bytes()).hexdigest()
    assert version.tags["meditron.code"] == code_version()
    assert version.tags["corpus.digest"] == finished(home, "corpus")[0].digest


def test_no_credential_is_in_anything_that_the_run_wrote(home):
    """Of every stage: its log, artifacts, checkpoints, pages, model card, and what MLflow holds."""
    files = {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert {"log.txt", "runs/mlflow.db"} <= files.keys()
    names = {Path(name).name for name in files}
    assert {"model_card.md", "report.html", "items.jsonl", "config.json", "datacard.md", "manifest.json"} <= names
    assert_clean(files, SECRET)


def test_models_and_corpus_are_linked_in_mlflow(home):
    client = mlflow.MlflowClient(f"sqlite:///{home}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("meditron").experiment_id
    models = {model.name: model for model in client.search_logged_models([experiment])}
    assert set(models) == {"new", "pretrain", "sft", "awq"}
    ended = client.search_runs([experiment], "attributes.status = 'FINISHED'")
    runs = {
        run.data.tags["meditron.stage"]: client.get_run(run.info.run_id) for run in ended
    }  # a search leaves links out
    for stage, base, made in (("pretrain", "new", "pretrain"), ("sft", "pretrain", "sft"), ("quantize", "sft", "awq")):
        assert [link.model_id for link in runs[stage].inputs.model_inputs] == [models[base].model_id]
        assert [link.model_id for link in runs[stage].outputs.model_outputs] == [models[made].model_id]
        [read] = runs[stage].inputs.dataset_inputs
        assert {tag.key: tag.value for tag in read.tags}["meditron.digest"] == finished(home, "corpus")[0].digest
    scores = {metric.key for metric in models["awq"].metrics}
    assert {"pubmedqa/top_token/accuracy", "mmlu-medical/sc_cot/accuracy"} <= scores
    [version] = client.search_model_versions("name = 'meditron-laptop'")
    assert version.tags["meditron.logged_model"] == models["awq"].model_id
    assert version.description.startswith("# meditron-laptop")


def test_from_the_version_back_to_every_file(home, monkeypatch):
    """What the lineage names is all that there is in the data folder, with its true digests."""
    monkeypatch.chdir(home)
    lineage = Lineage.of("sqlite:///runs/mlflow.db", "meditron-laptop@challenger")
    found = {file.name: file for artifact in lineage.artifacts.values() for file in artifact.files()}
    there = {path.relative_to(SAMPLE).as_posix(): path for path in SAMPLE.rglob("*") if path.is_file()}
    assert set(found) == set(there) - {"README.md"}
    for name, file in found.items():
        assert file.bytes == there[name].stat().st_size
        assert file.digest == f"sha256:{hashlib.sha256(there[name].read_bytes()).hexdigest()}"
    [corpus] = finished(home, "corpus")
    by_source = lineage.artifacts[corpus.digest].sources
    assert [file.name for file in by_source["guidelines"]] == ["guidelines/guidelines.jsonl"]
    assert len(by_source["plos"]) == 6
    assert lineage.verified(None).problems == ()


def test_the_card_is_the_runs_own(home):
    [registered] = finished(home, "registry")
    card = ModelCard.load(registered.fetch("model_card.md"))
    assert card.data.pipeline_tag == "text-generation"
    assert {score.dataset_name for score in card.data.eval_results} == {"pubmedqa", "medqa-4-option", "mmlu-medical"}
    assert "| guidelines | 1 | unknown |" in card.text
    assert finished(home, "awq")[0].digest in card.text
    assert len(finished(home, "pretrain")[0].read_json("usage.json")) == 2, "it was interrupted once"


@pytest.mark.parametrize("how", ["run", "rerun"])
def test_running_again_makes_nothing_twice_and_the_same(home, how):
    """By the recipe, or from what MLflow keeps of the run alone."""
    client = mlflow.MlflowClient(f"sqlite:///{home}/runs/mlflow.db")
    [version] = client.search_model_versions("name = 'meditron-laptop'")
    rerun = ("rerun", "--mlflow-run", version.tags["meditron.pipeline_run"])
    rerun += ("--tracking-uri", "sqlite:///runs/mlflow.db")
    before = {kind: finished(home, kind) for kind in ("corpus", "pretrain", "sft", "awq", "evaluation", "registry")}
    (home / "log.txt").unlink()
    assert start(home, *(rerun if how == "rerun" else ())).wait(timeout=200) == 0, output(home)
    assert output(home).count("already made") == 10
    assert {kind: finished(home, kind) for kind in before} == before
    [again] = client.search_model_versions("name = 'meditron-laptop'")
    assert again.version == version.version
    experiment = client.get_experiment_by_name("meditron").experiment_id
    assert len(client.search_logged_models([experiment])) == 4


def test_the_same_recipe_elsewhere_gives_the_same_bytes(home, tmp_path):
    """In another place, and killed twice at random moments, it ends with the very same corpus, weights and answers.

    There, two tasks share out the shards. `make bench-faults` compares with a run that nobody disturbs.
    """
    other, chance = make_home(tmp_path, corpus_tasks=2), random.Random()
    kills = [attempt(other, chance.uniform(2, 60), chance) for _ in range(2)]
    print(kills)
    assert sum(kill.orphans for kill in kills if isinstance(kill, Kill)) == 0
    assert attempt(other, None, chance) == 0, output(other)
    for kind in ("corpus", "pretrain", "sft", "awq", "evaluation"):
        digests = [{manifest.digest for manifest in finished(place, kind)} for place in (home, other)]
        assert digests[0] == digests[1], kind


def test_the_summary_tells_where_things_are(home):
    log = output(home)
    for expected in (
        "guidelines",
        "pretrain",
        "pubmedqa",
        "mlflow ui --backend-store-uri",
        "meditron chat --model runs",
    ):
        assert expected in log


def test_the_model_just_made_answers(home):
    [quantized] = finished(home, "awq")
    command = [MEDITRON, "chat", "--model", quantized.uri, "--prompt", "What is asthma?"]
    reply = subprocess.run([*command, "--max-new-tokens", "8"], capture_output=True, text=True, timeout=120)
    assert reply.returncode == 0, reply.stderr
    assert "not validated for clinical use" in reply.stderr
