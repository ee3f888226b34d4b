"""Ranks start where there is no C++ compiler, although DeepSpeed would like to compile an operator on a CPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.training.ranks import outcomes
from tests.training.tiny import random_batch, tiny_settings, write_tiny_model


def step(folder: Path, extensions: Path, with_operators: bool) -> None:
    """Runs on the rank, with nothing on its PATH."""
    import deepspeed.ops

    from components.training.convert import load_weights
    from components.training.engine.engine import Engine
    from components.training.models import read_config
    from components.training.process import start_process

    os.environ |= {"PATH": "", "TORCH_EXTENSIONS_DIR": str(extensions)}
    if with_operators:
        deepspeed.ops.__compatible_ops__ = {"deepspeed_shm_comm": True}
    settings = tiny_settings((1, 1, 1), global_batch_size=2)
    process = start_process(settings.layout, timeout_minutes=2)
    config = read_config(folder)
    engine = Engine(config, settings, process.layout, process.groups)
    load_weights(folder, engine.parameters(), config, process)
    engine.start()
    engine.train_step([random_batch(0, range(2), config.vocab_size)], lr=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("with_operators", [False, True])
def test_starting_without_a_compiler(tmp_path: Path, with_operators: bool) -> None:
    write_tiny_model("llama", tmp_path / "model")
    extensions = tmp_path / "extensions"
    (outcome,) = outcomes(1, step, tmp_path / "model", extensions, with_operators)
    print(outcome)
    if with_operators:
        assert "ninja" in outcome.error.lower()
    else:
        assert outcome.code == 0
        assert not extensions.exists()
