"""In bfloat16, gradients of many micro-batches are summed in float32."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.training.ranks import run_ranks
from tests.training.tiny import random_batch, tiny_settings, write_tiny_model

MICRO_BATCHES = 256


def norms(folder: Path, result: Path, sums_in_bf16: bool) -> None:
    """Runs on the rank: the gradient norm of one micro-batch, and of many that are all the same."""
    from components.training.convert import load_weights
    from components.training.engine import engine as module
    from components.training.models import read_config
    from components.training.process import start_process

    if sums_in_bf16:
        configure = module.deepspeed_config
        module.deepspeed_config = lambda *arguments: configure(*arguments) | {"data_types": {}}
    settings = tiny_settings((1, 1, 1), dtype="bf16", micro_batch_size=2, global_batch_size=2 * MICRO_BATCHES, lr=1e-12)
    process = start_process(settings.layout, timeout_minutes=2)
    config = read_config(folder)
    engine = module.Engine(config, settings, process.layout, process.groups)
    load_weights(folder, engine.parameters(), config, process)
    engine.start()
    batch = random_batch(0, range(2), config.vocab_size)
    once, often = (engine.train_step([batch] * count, lr=1e-12, count=count) for count in (1, MICRO_BATCHES))
    result.write_text(json.dumps([once.grad_norm, often.grad_norm]))


@pytest.mark.slow
@pytest.mark.parametrize("sums_in_bf16", [False, True])
def test_many_micro_batches(tmp_path: Path, sums_in_bf16: bool) -> None:
    """Each adds 1 / 256 of the gradient: exact in float32, but bfloat16 loses what is small beside the sum."""
    write_tiny_model("llama", tmp_path / "model")
    run_ranks(1, norms, tmp_path / "model", tmp_path / "norms.json", sums_in_bf16)
    once, often = torch.tensor(json.loads((tmp_path / "norms.json").read_text())).tolist()
    error = abs(often / once - 1)
    print(error)
    assert error > 1e-2 if sums_in_bf16 else error < 1e-6
