"""The parallel model trains exactly as Hugging Face's: same losses, same gradient norms, in every layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from components.training.base import write_new_model
from components.training.settings import SftSettings
from tests.training.ranks import run_ranks
from tests.training.tiny import TINY, random_batch, tiny_settings

STEPS = 4
SETTINGS = {"sequence_length": 32, "global_batch_size": 8, "clip_grad": 0.5}


def reference(folder: Path, vocab_size: int) -> torch.Tensor:
    """[steps, 2]: loss and gradient norm of Hugging Face's model with AdamW on the whole batch."""
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-5)
    curve = []
    for step in range(STEPS):
        batch = random_batch(step, range(8), vocab_size)
        logits = model(batch.tokens).logits
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), batch.targets, reduction="none")
        loss = (losses * batch.mask).sum() / batch.mask.sum()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
        curve.append((loss.item(), norm.item()))
    return torch.tensor(curve)


def train(folder: Path, settings: SftSettings, vocab_size: int, result: Path, sabotage: Callable | None) -> None:
    """Runs on each rank: the same training in a parallel layout."""
    from components.training.convert import load_weights
    from components.training.engine.engine import Engine
    from components.training.models.llama.config import LlamaConfig
    from components.training.process import start_process

    process = start_process(settings.layout, timeout_minutes=2)
    layout, count = process.layout, settings.micro_batches
    config = LlamaConfig.read(folder)
    engine = Engine(config, settings, layout, process.groups)
    load_weights(folder, engine.parameters(), config, process)
    if sabotage:
        sabotage(engine)
    engine.start()

    def batches(step: int) -> list:
        first = layout.data_rank * 2 * count
        return [random_batch(step, range(first + 2 * m, first + 2 * m + 2), vocab_size) for m in range(count)]

    curve = []
    for step in range(STEPS):
        needs_data = layout.is_first_stage or layout.is_last_stage
        before = engine.eval_step(batches(step) if needs_data else [], count)
        outcome = engine.train_step(batches(step) if needs_data else [], lr=1e-3)
        assert before == pytest.approx(outcome.loss, abs=1e-6)
        curve.append((outcome.loss, outcome.grad_norm))
    if process.is_main:
        result.write_text(json.dumps(curve))


def differences(
    tmp_path: Path,
    layout: tuple[int, int, int],
    vocab_size: int = 96,
    sabotage: Callable | None = None,
    **changes: object,
) -> tuple[float, float]:
    """Largest difference of loss and of gradient norm from Hugging Face's over a few steps."""
    folder, result = tmp_path / "model", tmp_path / "curve.json"
    write_new_model(TINY.with_vocab_size(vocab_size), 0.1, 7, folder)
    settings = tiny_settings(layout, **SETTINGS | changes)
    run_ranks(settings.layout.world_size, train, folder, settings, vocab_size, result, sabotage)
    curve = torch.tensor(json.loads(result.read_text()))
    loss, norm = (curve - reference(folder, vocab_size)).abs().amax(0).tolist()
    print(f"loss {loss:.1e}, gradient norm {norm:.1e}")
    return loss, norm


def test_one_rank(tmp_path: Path) -> None:
    assert max(differences(tmp_path, (1, 1, 1))) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("layout", [(2, 1, 1), (1, 2, 1), (1, 1, 2), (2, 2, 2)], ids=str)
def test_parallel(tmp_path: Path, layout: tuple[int, int, int]) -> None:
    assert max(differences(tmp_path, layout)) < 1e-6


@pytest.mark.slow
def test_vocabulary_that_does_not_divide(tmp_path: Path) -> None:
    """97 tokens on 2 ranks: one padding row, which must change nothing."""
    assert max(differences(tmp_path, (2, 1, 1), vocab_size=97)) < 1e-6


@pytest.mark.slow
def test_recompute(tmp_path: Path) -> None:
    assert max(differences(tmp_path, (2, 1, 1), recompute="full")) < 1e-6


@pytest.mark.slow
def test_bf16_stays_near(tmp_path: Path) -> None:
    loss, norm = differences(tmp_path, (2, 1, 1), dtype="bf16")
    assert loss < 0.02
    assert norm < 0.05


def untie_norms(engine: object) -> None:
    for name, parameter in engine.parameters().items():
        if "norm" in name:
            parameter.sequence_parallel = False


def unmark_shards(engine: object) -> None:
    for parameter in engine.parameters().values():
        parameter.tensor_model_parallel = False


@pytest.mark.slow
@pytest.mark.parametrize("sabotage", [untie_norms, unmark_shards])
def test_these_tests_would_notice(tmp_path: Path, sabotage: Callable) -> None:
    """Norm gradients not summed over the tensor group, or shards not counted in the norm: both easy to overlook."""
    assert max(differences(tmp_path, (2, 1, 1), sabotage=sabotage)) > 1e-5
