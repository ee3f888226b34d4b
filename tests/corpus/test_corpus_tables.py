"""Parquet files that are written batch by batch."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.corpus.tables import TableWriter, row_groups

EMPTY = pl.DataFrame(schema={"number": pl.Int64, "text": pl.String})


def frame(first, count):
    numbers = range(first, first + count)
    return pl.DataFrame({"number": list(numbers), "text": [f"text {number}" for number in numbers]})


@given(counts=st.lists(st.integers(0, 40), max_size=8), row_group=st.integers(1, 50))
def test_bytes_do_not_depend_on_batches(tmp_path_factory, counts, row_group):
    folder = tmp_path_factory.mktemp("tables")
    total = sum(counts)
    with TableWriter(folder / "whole.parquet", EMPTY, row_group) as writer:
        writer.write(frame(0, total))
    with TableWriter(folder / "parts.parquet", EMPTY, row_group) as writer:
        for number, count in enumerate(counts):
            writer.write(frame(sum(counts[:number]), count))
    assert writer.rows == total
    assert (folder / "parts.parquet").read_bytes() == (folder / "whole.parquet").read_bytes()
    groups = list(row_groups(folder / "parts.parquet"))
    assert all(group.height == row_group for group in groups[:-1])
    assert pl.concat([EMPTY, *groups]).equals(frame(0, total))


def test_each_frame_is_a_row_group_without_a_size(tmp_path):
    with TableWriter(tmp_path / "x.parquet", EMPTY) as writer:
        for first, count in ((0, 3), (3, 0), (3, 5)):
            writer.write(frame(first, count))
    assert [group.height for group in row_groups(tmp_path / "x.parquet", ["text"])] == [3, 5]


def test_what_fails_leaves_nothing(tmp_path):
    def interrupted():
        with TableWriter(tmp_path / "x.parquet", EMPTY) as writer:
            writer.write(frame(0, 3))
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        interrupted()
    assert list(tmp_path.iterdir()) == []
