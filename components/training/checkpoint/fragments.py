"""Where the pieces that a rank owns lie in the whole parameters: the arithmetic behind resuming in another layout.

A parameter that tensor parallelism splits along dimension d is seen as a matrix: its dimensions before d are the
rows, d and those behind it the columns. The slice of a tensor rank is then a range of columns of all rows, whatever
d is; a parameter that is not split is one row, and its only slice is all of it. ZeRO gives a data-parallel rank a run
of consecutive elements of that slice, flattened row by row: a fragment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from torch import Tensor


@dataclass(frozen=True)
class Place:
    """Where a fragment begins.

    Attributes:
        rows, columns: of the whole parameter; columns without the padding of a vocabulary.
        first_column, width: the range of columns that is the tensor rank's slice, padding included.
        start: of the fragment, in elements of the flattened slice.
    """

    rows: int
    columns: int
    first_column: int
    width: int
    start: int


@dataclass(frozen=True)
class Fragment:
    """What one rank owns of one parameter.

    Attributes:
        place: where it begins.
        tensors: by kind (float32 weights, moments), flat and equally long; views of the optimizer's memory.
        is_replica: the first tensor rank owns the same, and saves it.
    """

    place: Place
    tensors: Mapping[str, Tensor]
    is_replica: bool


def place_of(
    shape: Sequence[int], partition_dim: int | None, rank: int, size: int, start: int, unpadded: int | None = None
) -> Place:
    """The place of a fragment.

    Args:
        shape: of the slice that this tensor rank holds.
        partition_dim: dimension that is split over the tensor group; None: it is not split.
        rank, size: tensor rank, and number of them.
        start: of the fragment, in elements of the flattened slice.
        unpadded: length of the split dimension of the whole parameter, if it is padded.
    """
    if partition_dim is None:
        return Place(rows=1, columns=prod(shape), first_column=0, width=prod(shape), start=start)
    rows, below = prod(shape[:partition_dim]), prod(shape[partition_dim + 1 :])
    width = shape[partition_dim] * below
    columns = width * size if unpadded is None else unpadded * below
    return Place(rows, columns, first_column=rank * width, width=width, start=start)


@dataclass(frozen=True)
class Window:
    """A rectangle inside a flat fragment: its first element, and the elements from one row to the next."""

    offset: int
    stride: int
    height: int
    width: int

    @property
    def elements(self) -> int:
        return self.height * self.width

    @property
    def span(self) -> slice:
        """The elements from its first to its last."""
        return slice(self.offset, self.offset + (self.height - 1) * self.stride + self.width)

    def of(self, flat: Tensor) -> Tensor:
        """The rectangle [height, width] of a fragment, as a view."""
        offset = flat.storage_offset() + self.offset
        return flat.as_strided((self.height, self.width), (self.stride, 1), offset)


def overlaps(one: Place, one_length: int, other: Place, other_length: int) -> Iterator[tuple[Window, Window]]:
    """What two fragments of a parameter have in common, as pairs of windows, one into each; padding left out."""
    for mine in _blocks(one, one_length):
        for theirs in _blocks(other, other_length):
            rows, columns = _common(mine.rows, theirs.rows), _common(mine.columns, theirs.columns)
            if rows and columns:
                yield mine.window(rows, columns), theirs.window(rows, columns)


def real_elements(place: Place, length: int) -> int:
    """Elements of a fragment that are not padding."""
    return sum(len(block.rows) * len(block.columns) for block in _blocks(place, length))


@dataclass(frozen=True)
class _Block:
    """A rectangle of the whole matrix that lies in a fragment, from element `offset` on and `stride` per row."""

    rows: range
    columns: range
    offset: int
    stride: int

    def window(self, rows: range, columns: range) -> Window:
        offset = self.offset + (rows.start - self.rows.start) * self.stride + columns.start - self.columns.start
        return Window(offset, self.stride, len(rows), len(columns))


def _blocks(place: Place, length: int) -> Iterator[_Block]:
    """A fragment as at most three rectangles: the end of a row, whole rows, the beginning of a row."""
    position, end = place.start, place.start + length
    while position < end:
        row, inside = divmod(position, place.width)
        whole_rows = 0 if inside else (end - position) // place.width
        count = place.width if whole_rows else min(place.width - inside, end - position)
        first = place.first_column + inside
        columns = range(first, min(first + count, place.columns))
        yield _Block(range(row, row + (whole_rows or 1)), columns, position - place.start, place.width)
        position += (whole_rows or 1) * count


def _common(one: range, other: range) -> range:
    return range(max(one.start, other.start), min(one.stop, other.stop))
