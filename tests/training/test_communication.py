"""How often ranks talk in an iteration: no more than the scheme needs (Korthikanti et al. 2022, section 4.2)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from components.training.base import write_new_model
from components.training.settings import PretrainSettings
from tests.training.ranks import run_ranks
from tests.training.tiny import TINY, random_batch, tiny_settings

MICRO_BATCHES = 4


def count_calls(folder: Path, settings: PretrainSettings) -> None:
    """Runs on each rank: count the collectives of the tensor group during one step, and compare."""
    import torch.distributed as dist

    from components.training.convert import load_weights
    from components.training.engine.engine import Engine
    from components.training.models import read_config
    from components.training.process import start_process

    process = start_process(settings.layout, timeout_minutes=2)
    config = read_config(folder)
    engine = Engine(config, settings, process.layout, process.groups)
    load_weights(folder, engine.parameters(), config, process)
    engine.start()

    calls: Counter[str] = Counter()
    for name in ("all_gather_single", "reduce_scatter_single", "all_reduce"):
        setattr(dist, name, _counted(getattr(dist, name), name, process.groups.tensor, calls))
    engine.train_step([random_batch(0, range(2 * m, 2 * m + 2), 96) for m in range(MICRO_BATCHES)], lr=1e-3)

    local_layers = TINY.num_hidden_layers // 2
    assert calls["all_gather_single"] == MICRO_BATCHES * (4 * local_layers + 1)
    assert calls["reduce_scatter_single"] == MICRO_BATCHES * (4 * local_layers + 1)
    last = process.layout.is_last_stage
    norms = 2 * local_layers + last
    assert calls["all_reduce"] == norms + (2 * MICRO_BATCHES if last else 0)


def _counted(function, name: str, group: object, calls: Counter[str]):
    def wrapper(*arguments, **options):
        calls[name] += options.get("group") is group
        return function(*arguments, **options)

    return wrapper


@pytest.mark.slow
def test_tensor_group(tmp_path: Path) -> None:
    write_new_model(TINY, 0.1, 7, tmp_path)
    run_ranks(4, count_calls, tmp_path, tiny_settings((2, 2, 1)))
