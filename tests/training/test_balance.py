"""Stages that take equally long."""

from __future__ import annotations

from itertools import combinations

import pytest

from components.training.parallel.balance import head_cost, layers_per_stage
from components.training.planner.sizes import published_sizes


@pytest.mark.parametrize("stages", range(1, 6))
@pytest.mark.parametrize("head", [0.0, 0.3, 1.0, 2.4, 7.0])
@pytest.mark.parametrize("num_layers", [5, 8, 11])
def test_no_split_has_a_faster_slowest_stage(num_layers: int, head: float, stages: int) -> None:
    def slowest(counts: list[int]) -> float:
        return max([*counts[:-1], counts[-1] + head])

    counts = layers_per_stage(num_layers, stages, head)
    assert sum(counts) == num_layers
    assert min(counts) >= 1
    cuts = combinations(range(1, num_layers), stages - 1)
    splits = [[b - a for a, b in zip([0, *cut], [*cut, num_layers], strict=True)] for cut in cuts]
    assert slowest(counts) == min(map(slowest, splits))


def test_layers_that_do_not_divide_go_to_the_first_stages() -> None:
    assert layers_per_stage(10, 4, 0.0) == [3, 3, 2, 2]


@pytest.mark.parametrize(
    ("model", "sequence_length", "stages", "counts"),
    [
        ("llama-2-70b", 4096, 8, [10] * 8),  # a head of 0.3 layers is not worth moving one
        ("llama-3-8b", 8192, 4, [9, 8, 8, 7]),  # its head of 128,256 tokens costs 1.8 layers
    ],
)
def test_published_models(model: str, sequence_length: int, stages: int, counts: list[int]) -> None:
    sizes = published_sizes(model)
    vocabulary = sizes.vocab_size * sizes.hidden_size
    head = head_cost(vocabulary, sizes.layer_matrix_parameters, sizes.query_width, sequence_length)
    assert layers_per_stage(sizes.num_hidden_layers, stages, head) == counts
