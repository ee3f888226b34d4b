"""Which samples are seen does not depend on the layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.training.batch import Batches, Sample
from components.training.engine.engine import MicroBatch
from tests.training.tiny import tiny_settings


def numbered(index: int) -> Sample:
    """Sample i consists of the token i."""
    return np.full(33, index), np.ones(32, dtype=np.float32)


def seen(batches: list[MicroBatch]) -> list[int]:
    return torch.cat([batch.tokens[:, 0] for batch in batches]).tolist()


@pytest.mark.parametrize("data_parallel_size", [1, 2, 4])
def test_a_global_batch_is_the_same_on_any_number_of_ranks(data_parallel_size: int) -> None:
    settings = tiny_settings((1, 1, data_parallel_size), sequence_length=32, global_batch_size=8)
    ranks = [
        Batches(numbered, settings, settings.layout.for_rank(rank)).train(iteration=3)
        for rank in range(data_parallel_size)
    ]
    assert sorted(index for batches in ranks for index in seen(batches)) == list(range(24, 32))
    assert {len(batches) for batches in ranks} == {settings.micro_batches}


def test_stages_in_between_see_nothing() -> None:
    settings = tiny_settings((1, 3, 1), sequence_length=32, global_batch_size=8)
    assert Batches(numbered, settings, settings.layout.for_rank(1)).train(0) == []


def test_validation_counts_each_sample_once() -> None:
    settings = tiny_settings((1, 1, 2), sequence_length=32, global_batch_size=8)
    counted = []
    for rank in range(2):
        batches, count = Batches(numbered, settings, settings.layout.for_rank(rank)).validation(num_samples=5)
        assert len(batches) == count == 2
        for batch in batches:
            counted += batch.tokens[batch.mask.bool()].unique().tolist()
    assert sorted(counted) == [0, 1, 2, 3, 4]


def test_targets_are_the_following_tokens() -> None:
    settings = tiny_settings((1, 1, 1), sequence_length=32, global_batch_size=8)
    batches = Batches(lambda _: (np.arange(33), np.ones(32, dtype=np.float32)), settings, settings.layout.for_rank(0))
    batch = batches.train(0)[0]
    assert torch.equal(batch.tokens + 1, batch.targets)
