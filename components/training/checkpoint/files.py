"""One rank's file of a checkpoint: fragments as safetensors, and reading just what another rank needs of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from components.platform.errors import InputError
from components.training.checkpoint.fragments import Fragment, Place, overlaps, real_elements

METADATA_KEY = "meditron"


def snapshot(fragments: Mapping[str, Fragment]) -> tuple[dict[str, Tensor], dict[str, Place]]:
    """Copies in CPU memory of all that this rank saves, by name in the file; and the places by parameter."""
    saved = {name: fragment for name, fragment in fragments.items() if not fragment.is_replica}
    tensors = {
        _key(name, kind): tensor.to("cpu", copy=True)
        for name, fragment in saved.items()
        for kind, tensor in fragment.tensors.items()
    }
    return tensors, {name: fragment.place for name, fragment in saved.items()}


def write_fragments(path: Path, tensors: dict[str, Tensor], places: Mapping[str, Place], step: int) -> None:
    """Write one rank's file; it is on disk when the call returns."""
    record = {"step": step, "fragments": {name: asdict(place) for name, place in places.items()}}
    # One entry, because safetensors writes several in random order: the same state gives the same bytes.
    save_file(tensors, path, metadata={METADATA_KEY: json.dumps(record)})
    flush_to_disk(path)


@torch.no_grad()
def read_fragments(paths: Iterable[Path], fragments: Mapping[str, Fragment]) -> int:
    """Fill this rank's fragments from the files of all ranks, whatever their layout was; padding becomes zero.

    One piece of one parameter is in memory at a time.

    Returns:
        The optimizer's step count.

    Raises:
        InputError: the files are of another model.
    """
    missing = {name: real_elements(fragment.place, _length(fragment)) for name, fragment in fragments.items()}
    for fragment in fragments.values():
        for tensor in fragment.tensors.values():
            tensor.zero_()
    step = 0
    for path in paths:
        with safe_open(path, framework="pt") as file:
            record = json.loads(file.metadata()[METADATA_KEY])
            step = record["step"]
            places = {name: Place(**place) for name, place in record["fragments"].items()}
            for name in places.keys() & fragments.keys():
                missing[name] -= _copy_overlaps(path, file, name, places[name], fragments[name])
    for name, count in missing.items():
        if count:
            raise InputError(f"{path.parent}: {count} elements of {name} are in none of its files")
    return step


def _copy_overlaps(path: Path, file: Any, name: str, place: Place, fragment: Fragment) -> int:
    """Copy what an open file has of a fragment; returns the number of elements of each kind."""
    wanted = fragment.place
    if (place.rows, place.columns) != (wanted.rows, wanted.columns):
        raise InputError(
            f"{path}: {name} is a matrix of {[place.rows, place.columns]}, but {[wanted.rows, wanted.columns]} in "
            "this model; only the layout may change when a run is resumed"
        )
    stored = {kind: file.get_slice(_key(name, kind)) for kind in fragment.tensors}
    [length] = {tensor.get_shape()[0] for tensor in stored.values()}
    copied = 0
    for target, source in overlaps(wanted, _length(fragment), place, length):
        for kind, tensor in fragment.tensors.items():
            piece = stored[kind][source.span]
            rows = piece.as_strided((source.height, source.width), (source.stride, 1))
            target.of(tensor).copy_(rows)
        copied += target.elements
    return copied


def flush_to_disk(path: Path) -> None:
    """Make a file's content, or a folder's list of names, outlast a crash of the machine."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _key(name: str, kind: str) -> str:
    return f"{name}.{kind}"


def _length(fragment: Fragment) -> int:
    return next(iter(fragment.tensors.values())).numel()
