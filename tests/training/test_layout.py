"""Ranks and groups of a layout."""

from __future__ import annotations

import pytest

from components.training.parallel.layout import ParallelLayout


def test_every_rank_has_its_own_place() -> None:
    layouts = [ParallelLayout(2, 3, 4, rank) for rank in range(24)]
    places = {(layout.tensor_rank, layout.pipeline_rank, layout.data_rank) for layout in layouts}
    assert len(places) == 24
    assert [layout.is_first_stage for layout in layouts].count(True) == 8
    assert [layout.is_last_stage for layout in layouts].count(True) == 8


def test_groups_hold_the_ranks_that_differ_in_one_coordinate() -> None:
    layout = ParallelLayout(2, 2, 2)
    assert layout.tensor_groups() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert layout.data_groups() == [[0, 2], [1, 3], [4, 6], [5, 7]]


def test_refuses_a_rank_outside() -> None:
    with pytest.raises(ValueError, match="rank 8 is outside a layout of 8"):
        ParallelLayout(2, 2, 2, rank=8)
