"""Which samples are seen does not depend on the layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.training.batch import Batches
from components.training.batch_sizes import BatchSizes
from components.training.data.sample import Sample
from components.training.engine.engine import MicroBatch
from tests.training.tiny import tiny_settings


def numbered(index: int) -> Sample:
    """Sample i consists of the token i."""
    return Sample.of_one_document(np.full(33, index))


def seen(batches: list[MicroBatch]) -> list[int]:
    return torch.cat([batch.tokens[:, 0] for batch in batches]).tolist()


@pytest.mark.parametrize("data_parallel_size", [1, 2, 4])
def test_a_global_batch_is_the_same_on_any_number_of_ranks(data_parallel_size: int) -> None:
    settings = tiny_settings((1, 1, data_parallel_size), sequence_length=32, global_batch_size=8)
    ranks = [
        Batches(numbered, settings, settings.layout.for_rank(rank)).train(3)[0] for rank in range(data_parallel_size)
    ]
    assert sorted(index for batches in ranks for index in seen(batches)) == list(range(24, 32))
    assert {len(batches) for batches in ranks} == {settings.micro_batches}


def test_stages_in_between_see_nothing() -> None:
    settings = tiny_settings((1, 3, 1), sequence_length=32, global_batch_size=8)
    assert Batches(numbered, settings, settings.layout.for_rank(1)).train(0) == ([], 4)


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
    batches = Batches(lambda _: Sample.of_one_document(np.arange(33)), settings, settings.layout.for_rank(0))
    batch = batches.train(0)[0][0]
    assert torch.equal(batch.tokens + 1, batch.targets)


RAMP = {"start": 2, "increment": 2, "samples": 15}


def test_a_ramp_is_that_of_megatron() -> None:
    """Megatron looks up the size anew before each batch, by the samples seen so far."""
    ramp = {"start": 4, "increment": 4, "samples": 101}
    settings = tiny_settings((1, 1, 2), global_batch_size=24, rampup_batch_size=ramp)
    seen, sizes = 0, BatchSizes(settings)
    for number in range(40):
        size = min(24, 4 + 4 * int(seen / (101 / 5)))
        assert sizes.samples(number) == range(seen, seen + size)
        seen += size
        assert sizes.batches(seen) == number + 1
        assert sizes.batches(seen + 1) == number + 2
    assert size == 24


def test_a_ramp_steeper_than_its_batches_skips_sizes() -> None:
    settings = tiny_settings((1, 1, 1), global_batch_size=8, rampup_batch_size=RAMP | {"samples": 3})
    assert [len(BatchSizes(settings).samples(number)) for number in range(4)] == [2, 6, 8, 8]


def test_no_sample_is_lost_or_seen_twice_where_a_run_on_a_ramp_goes_on_in_another_layout() -> None:
    def samples(data_parallel_size: int, numbers: range) -> list[int]:
        changes = {"micro_batch_size": 2 // data_parallel_size, "rampup_batch_size": RAMP}
        settings = tiny_settings((1, 1, data_parallel_size), **changes)
        result = []
        for number in numbers:
            for rank in range(data_parallel_size):
                batches, count = Batches(numbered, settings, settings.layout.for_rank(rank)).train(number)
                assert len(batches) == count
                result += seen(batches)
        return result

    both = samples(1, range(4)) + samples(2, range(4, 9))
    assert sorted(both) == list(range(BatchSizes(tiny_settings((1, 1, 1), rampup_batch_size=RAMP)).samples(8).stop))
