"""What any layout has written, any other can read: each element to its place, and padding to nowhere."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from math import ceil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from components.platform.errors import InputError
from components.training.checkpoint.files import read_fragments, snapshot, write_fragments
from components.training.checkpoint.fragments import Fragment, Place, place_of

NAME, KINDS, STEP = "model.layers.0.weight", ("master", "exp_avg", "exp_avg_sq"), 7


def owned(
    whole: dict[str, Tensor], dim: int | None, tensor_size: int, data_size: int, fill: float | None = None
) -> Iterator[Fragment]:
    """What each rank of a layout owns of a parameter, the split dimension padded with 9s; or empty room for it."""
    shape = next(iter(whole.values())).shape
    slices = {kind: split(tensor, dim, tensor_size) for kind, tensor in whole.items()}
    for tensor_rank in range(tensor_size):
        flat = {kind: parts[tensor_rank].flatten() for kind, parts in slices.items()}
        length = next(iter(flat.values())).numel()
        part = ceil(length / data_size)
        for start in range(0, length, part):
            tensors = {kind: tensor[start : start + part].clone() for kind, tensor in flat.items()}
            if fill is not None:
                tensors = {kind: torch.full_like(tensor, fill) for kind, tensor in tensors.items()}
            own_shape = slices["master"][tensor_rank].shape
            unpadded = None if dim is None else shape[dim]
            place = place_of(own_shape, dim, tensor_rank, tensor_size, start, unpadded)
            yield Fragment(place, tensors, is_replica=dim is None and tensor_rank > 0)


def split(tensor: Tensor, dim: int | None, size: int) -> list[Tensor]:
    if dim is None:
        return [tensor] * size
    padding = list(tensor.shape)
    padding[dim] = -tensor.shape[dim] % size
    return list(torch.cat([tensor, torch.full(padding, 9.0)], dim).chunk(size, dim))


def write(folder: Path, fragments: Iterator[Fragment]) -> list[Path]:
    paths = []
    for rank, fragment in enumerate(fragments):
        paths.append(folder / f"rank-{rank:05}.safetensors")
        write_fragments(paths[-1], *snapshot({NAME: fragment}), step=STEP)
    return paths


@st.composite
def parameters(draw: st.DrawFn) -> tuple[dict[str, Tensor], int | None]:
    """Every element another number, and the dimension that is split."""
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    count = torch.Size(shape).numel()
    whole = {kind: torch.arange(count).view(shape) + 1000.0 * number for number, kind in enumerate(KINDS, start=1)}
    return whole, draw(st.none() | st.integers(0, len(shape) - 1))


@settings(max_examples=60, deadline=None)
@given(parameters(), *[st.integers(1, 4)] * 4)
def test_from_any_layout_to_any_layout(
    parameter: tuple[dict[str, Tensor], int | None], tensor: int, data: int, new_tensor: int, new_data: int
) -> None:
    whole, dim = parameter
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), owned(whole, dim, tensor, data))
        expected = owned(whole, dim, new_tensor, new_data)
        for fragment, wanted in zip(owned(whole, dim, new_tensor, new_data, fill=-1.0), expected, strict=True):
            assert read_fragments(paths, {NAME: fragment}) == STEP
            for kind in KINDS:
                without_padding = wanted.tensors[kind].where(wanted.tensors[kind] != 9.0, 0.0)
                assert torch.equal(fragment.tensors[kind], without_padding)


def test_what_all_tensor_ranks_own_is_saved_once(tmp_path: Path) -> None:
    whole = {kind: torch.ones(5) for kind in KINDS}
    first, second = write(tmp_path, owned(whole, None, tensor_size=2, data_size=1))
    assert first.stat().st_size > second.stat().st_size
    assert snapshot({NAME: Fragment(Place(1, 5, 0, 5, 0), whole, is_replica=True)}) == ({}, {})


def test_elements_that_nobody_wrote(tmp_path: Path) -> None:
    whole = {kind: torch.ones(4, 6) for kind in KINDS}
    first, second = write(tmp_path, owned(whole, 1, tensor_size=2, data_size=1))
    [room] = owned(whole, 1, tensor_size=1, data_size=1, fill=0.0)
    with pytest.raises(InputError, match=f"{tmp_path}: 12 elements of {NAME} are in none of its files"):
        read_fragments([first], {NAME: room})
    with pytest.raises(InputError, match="12 elements"):
        read_fragments([second], {NAME: room})


def test_another_model(tmp_path: Path) -> None:
    paths = write(tmp_path, owned({kind: torch.ones(4, 6) for kind in KINDS}, 0, tensor_size=1, data_size=1))
    [room] = owned({kind: torch.ones(5, 6) for kind in KINDS}, 0, tensor_size=1, data_size=1)
    with pytest.raises(InputError, match=rf"{paths[0]}: {NAME} is a matrix of \[1, 24\], but \[1, 30\] in this model"):
        read_fragments(paths, {NAME: room})
