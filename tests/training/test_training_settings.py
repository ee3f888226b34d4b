"""Impossible settings are refused with a message that says what to change."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from components.training.fine_tuning import fine_tuning_iterations
from components.training.settings import PretrainSettings, SftSettings

NEW = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
}
GOOD = {
    "layout": {"tensor_parallel_size": 2, "pipeline_parallel_size": 2, "data_parallel_size": 2},
    "sequence_length": 64,
    "micro_batch_size": 2,
    "global_batch_size": 16,
    "lr": 1e-3,
    "lr_warmup_iters": 2,
    "base": {"new": NEW},
    "train_iters": 10,
}


def test_good_settings() -> None:
    settings = PretrainSettings(**GOOD)
    assert settings.layout.world_size == 8
    assert settings.micro_batches == 4
    assert settings.warmup_iters(10) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"global_batch_size": 10}, "not divisible by micro_batch_size 2 × data_parallel_size 2 = 4.*12"),
        ({"sequence_length": 63}, "sequence_length 63 is not divisible by tensor_parallel_size 2"),
        ({"sequence_length": 256}, "more than the model's max_position_embeddings 128"),
        ({"layout": {"tensor_parallel_size": 4}}, "num_key_value_heads 2 is not divisible"),
        ({"layout": {"pipeline_parallel_size": 3}}, "pipeline_parallel_size 3 is more than num_hidden_layers 2"),
        ({"base": {"new": NEW | {"intermediate_size": 63}}}, "intermediate_size 63 is not divisible"),
        ({"base": {"new": NEW | {"num_key_value_heads": 3}}}, "not a multiple of num_key_value_heads"),
        ({"base": {"new": NEW | {"hidden_size": 36}}}, "hidden_size 36 / num_attention_heads 4"),
        ({"base": {}}, "give either `path`"),
        ({"base": {"new": NEW, "path": "x"}}, "give either `path`"),
        ({"lr_warmup_fraction": 0.1}, "give either `lr_warmup_iters` or"),
        ({"lr_warmup_iters": 10}, "leaves nothing of train_iters 10"),
        (
            {"rampup_batch_size": {"start": 6, "increment": 4, "samples": 50}},
            "rampup_batch_size.start 6 is not divisible by .* = 4; the next that is: 8",
        ),
        ({"rampup_batch_size": {"start": 4, "increment": 6, "samples": 50}}, "rampup_batch_size.increment 6 is not"),
        ({"rampup_batch_size": {"start": 4, "increment": 8, "samples": 50}}, "divides their difference, 12"),
        ({"rampup_batch_size": {"start": 16, "increment": 4, "samples": 50}}, "is never met"),
        ({"min_lr": 0.1}, "min_lr 0.1 is above lr"),
        ({"compile": True, "recompute": "selective"}, "compiled ones do so by themselves"),
    ],
)
def test_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PretrainSettings(**GOOD | changes)


def test_fine_tuning_is_as_long_as_its_epochs_or_iterations() -> None:
    common = {key: value for key, value in GOOD.items() if key not in {"base", "train_iters"}}
    common["data"] = {"benchmarks": [{"name": "pubmedqa"}]}
    assert fine_tuning_iterations(SftSettings(**common, epochs=1.5), samples=100) == 10
    assert fine_tuning_iterations(SftSettings(**common, train_iters=7), samples=100) == 7
    ramp = {"start": 4, "increment": 4, "samples": 48}
    assert fine_tuning_iterations(SftSettings(**common, epochs=1, rampup_batch_size=ramp), samples=100) == 11
    for lengths in ({}, {"epochs": 1, "train_iters": 7}):
        with pytest.raises(ValidationError, match="give either `epochs` or `train_iters`"):
            SftSettings(**common, **lengths)


def test_the_paper_is_expressible() -> None:
    """Meditron-70B: TP8 × PP8 × DP2 on 128 GPUs, 2 / 512 samples of 4096 tokens."""
    settings = PretrainSettings(
        layout={"tensor_parallel_size": 8, "pipeline_parallel_size": 8, "data_parallel_size": 2},
        sequence_length=4096,
        micro_batch_size=2,
        global_batch_size=512,
        lr=1.5e-4,
        min_lr=1e-6,
        lr_warmup_iters=2000,
        train_iters=23000,
        base={"path": "models/llama-2-70b"},
    )
    assert settings.layout.world_size == 128
    assert settings.micro_batches == 128
