"""The stages as a pipeline calls them, with real ranks under torchrun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file, save_file

from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.errors import InputError, SettingsError
from components.platform.launcher import LaunchError, LaunchInterrupted
from components.platform.manifest import Manifest
from components.training.base_check import check_tensors
from components.training.models import read_config
from components.training.settings import PretrainSettings, SftSettings
from components.training.stage import run_pretrain, run_sft
from tests.training.tiny import FAMILIES, make_corpus, make_tokenizer, write_tiny_model

NEW = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 256,
}
COMMON = {
    "layout": {"tensor_parallel_size": 2},
    "sequence_length": 64,
    "micro_batch_size": 2,
    "global_batch_size": 4,
    "lr": 1e-2,
    "lr_warmup_iters": 2,
    "dtype": "fp32",
    "save_interval": 4,
}
PRETRAIN = COMMON | {"base": {"new": NEW}, "train_iters": 12, "eval_interval": 6, "eval_iters": 1}
SFT = COMMON | {"sequence_length": 128, "data": {"conversations": ["chats.jsonl"]}, "epochs": 4}


FAILING_STEP = """
import os

if os.environ.get("RANK") == "1":
    import torch

    def fail(*_, **__):
        raise RuntimeError("the scales have fallen over")

    torch.Tensor.backward = torch.autograd.backward = fail
"""


@pytest.fixture
def platform(tmp_path: Path) -> PlatformSettings:
    data = tmp_path / "data"
    data.mkdir()
    turns = [{"role": "user", "content": "What after infarction?"}, {"role": "assistant", "content": "Aspirin."}]
    (data / "chats.jsonl").write_text((json.dumps({"messages": turns}) + "\n") * 10)
    return PlatformSettings(
        data=str(data), workspace=str(tmp_path / "runs"), tracking=TrackingSettings(uri="sqlite:///unused.db")
    )


@pytest.fixture
def corpus(tmp_path: Path) -> Manifest:
    return make_corpus(tmp_path / "corpus")


@pytest.mark.slow
def test_pretrain_then_sft(platform: PlatformSettings, corpus: Manifest) -> None:
    from transformers import AutoModelForCausalLM

    model = run_pretrain(PretrainSettings(**PRETRAIN), platform, corpus)
    assert model.kind == "pretrain"
    assert model.metadata["final_validation_loss"] < model.metadata["first_validation_loss"] - 0.5
    paths = {entry.path for entry in model.files}
    assert {"model/config.json", "model/generation_config.json"} <= paths
    records = {"metrics.jsonl", "report.html", "usage.json"}
    assert {path for path in paths if not path.startswith("model/")} == records
    assert model.metadata["device_hours"] > 0

    tuned = run_sft(SftSettings(**SFT), platform, corpus, model)
    assert tuned.metadata["iterations"] == 10
    assert tuned.metadata["final_loss"] < tuned.metadata["first_loss"] - 1
    AutoModelForCausalLM.from_pretrained(tuned.local() / "model")

    started = time.monotonic()
    assert run_sft(SftSettings(**SFT), platform, corpus, model).digest == tuned.digest
    assert time.monotonic() - started < 2


@pytest.mark.slow
def test_interrupted_from_outside(tmp_path: Path, platform: PlatformSettings, corpus: Manifest) -> None:
    """SIGTERM to the stage's process: a checkpoint, a message, no process left; the same command then goes on."""
    recipe = tmp_path / "recipe.yaml"
    settings = PRETRAIN | {"train_iters": 400, "save_interval": 1000, "eval_interval": 1000}
    recipe.write_text(yaml.safe_dump({"platform": platform.model_dump(mode="json"), "pretrain": settings}))
    command = [sys.executable, "-m", "components.training", "pretrain", "--recipe", str(recipe), "--corpus", corpus.uri]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    metrics = next(_wait_for(lambda: list((tmp_path / "runs").glob("pretrain/*/metrics.jsonl"))))
    next(_wait_for(lambda: metrics.read_text().count("\n") > 2 and [True]))
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "a checkpoint is saved, start it again to go on" in output
    [checkpoint] = (metrics.parent / "checkpoints").iterdir()
    assert (checkpoint / "checkpoint.json").is_file()
    assert metrics.read_text().count("\n") < 400


@pytest.mark.slow
def test_leaves_when_its_time_is_over(tmp_path: Path, platform: PlatformSettings, corpus: Manifest) -> None:
    """A checkpoint after the first iteration; without the limit the same result, bit for bit, as without a stop."""
    settings = PretrainSettings(**PRETRAIN | {"save_interval": 1000})
    launcher = platform.launcher.model_copy(update={"exit_duration_minutes": 1e-3})
    with pytest.raises(LaunchInterrupted, match="a checkpoint is saved, start it again to go on"):
        run_pretrain(settings, platform.model_copy(update={"launcher": launcher}), corpus)
    [checkpoint] = (tmp_path / "runs").glob("pretrain/*/checkpoints/*")
    assert checkpoint.name == "iteration-0000001"
    model = run_pretrain(settings, platform, corpus)
    assert len(model.read_json("usage.json")) == 2, "both starts took something"
    undisturbed = platform.model_copy(update={"workspace": str(tmp_path / "elsewhere")})
    assert run_pretrain(settings, undisturbed, corpus).digest == model.digest


@pytest.mark.slow
def test_a_failing_rank_is_named(
    tmp_path: Path, platform: PlatformSettings, corpus: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one stage of two raises in the middle of a step ends the run at once, and is what is told."""
    (tmp_path / "sitecustomize.py").write_text(FAILING_STEP)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    settings = PRETRAIN | {"layout": {"pipeline_parallel_size": 2}}
    started = time.monotonic()
    with pytest.raises(LaunchError, match=r"(?s)rank 1 failed .*RuntimeError: the scales have fallen over"):
        run_pretrain(PretrainSettings(**settings), platform, corpus)
    assert time.monotonic() - started < 60


def _wait_for(found, seconds: float = 90):
    """Yield the first of what `found()` returns, once it returns something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := found():
            yield result[0]
        time.sleep(0.1)
    raise TimeoutError("the run did not come so far")


def test_a_corpus_that_is_too_small(platform: PlatformSettings, corpus: Manifest) -> None:
    settings = PRETRAIN | {"sequence_length": 16000, "base": {"new": NEW | {"max_position_embeddings": 16000}}}
    with pytest.raises(InputError, match="fewer than 16001 tokens"):
        run_pretrain(PretrainSettings(**settings), platform, corpus)


def test_a_base_with_another_tokenizer(tmp_path: Path, platform: PlatformSettings, corpus: Manifest) -> None:
    from components.training.base import write_new_model
    from tests.training.tiny import TINY

    base = tmp_path / "data" / "base"
    make_tokenizer(base, vocab_size=500)
    write_new_model(TINY, 0.02, 7, base)
    with pytest.raises(InputError, match="build the corpus with the tokenizer of the model"):
        run_pretrain(PretrainSettings(**PRETRAIN | {"base": {"path": "base"}}), platform, corpus)


def test_a_base_that_does_not_fit_the_layout(tmp_path: Path, platform: PlatformSettings, corpus: Manifest) -> None:
    from components.training.base import write_new_model
    from tests.training.tiny import TINY

    base = tmp_path / "data" / "base"
    make_tokenizer(base)
    write_new_model(TINY, 0.02, 7, base)
    settings = PRETRAIN | {"base": {"path": "base"}, "layout": {"tensor_parallel_size": 4}}
    with pytest.raises(SettingsError, match="num_key_value_heads 2 is not divisible by tensor_parallel_size 4"):
        run_pretrain(PretrainSettings(**settings), platform, corpus)


def lose_a_shard(base: Path) -> None:
    tensors = load_file(base / "model.safetensors")
    index = {"weight_map": dict.fromkeys(tensors, "model.safetensors") | {min(tensors): "model-2.safetensors"}}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))


def cut_short(base: Path) -> None:
    path = base / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def forget_a_tensor(base: Path) -> None:
    tensors = load_file(base / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, base / "model.safetensors")


def widen_the_config(base: Path) -> None:
    record = json.loads((base / "config.json").read_text()) | {"intermediate_size": 96}
    (base / "config.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lose_a_shard, r"model-2.safetensors: missing; fetch the model again"),
        (cut_short, r"model.safetensors: damaged or cut short, .*; fetch it again"),
        (forget_a_tensor, "the weights have no tensor model.norm.weight"),
        (widen_the_config, r"mlp.\w+_proj.weight is \[.*80.*\], but config.json implies \[.*96.*\]"),
    ],
)
def test_a_damaged_base(
    platform: PlatformSettings, corpus: Manifest, damage: Callable[[Path], None], message: str
) -> None:
    """It is told before a rank starts."""
    from components.training.base import write_new_model
    from tests.training.tiny import TINY

    base = Path(platform.data, "base")
    make_tokenizer(base)
    write_new_model(TINY.with_vocab_size(400), 0.02, 7, base)
    damage(base)
    with pytest.raises(InputError, match=message):
        run_pretrain(PretrainSettings(**PRETRAIN | {"base": {"path": "base"}}), platform, corpus)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_base_as_transformers_writes_it(tmp_path: Path, family: str) -> None:
    write_tiny_model(family, tmp_path)
    check_tensors(tmp_path, read_config(tmp_path))
    with pytest.raises(InputError, match="config.json implies"):
        check_tensors(tmp_path, read_config(tmp_path).with_vocab_size(41))


def test_a_warmup_longer_than_the_fine_tuning(tmp_path: Path, platform: PlatformSettings, corpus: Manifest) -> None:
    from components.training.base import write_new_model
    from tests.training.tiny import TINY

    folder = tmp_path / "pretrained"
    make_tokenizer(folder / "model")
    write_new_model(TINY.with_vocab_size(400), 0.02, 7, folder / "model")
    model = Manifest.of_folder("pretrain", folder)
    with pytest.raises(SettingsError, match="warm-up of 100 iterations never ends: the run has 10"):
        run_sft(SftSettings(**SFT | {"lr_warmup_iters": 100, "sequence_length": 64}), platform, corpus, model)
