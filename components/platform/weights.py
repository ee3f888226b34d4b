"""The weights in a Hugging Face model folder: one safetensors file, or several and an index of them."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

from components.platform.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

INDEX_NAME, SINGLE_NAME = "model.safetensors.index.json", "model.safetensors"


def indexed_files(folder: Path) -> list[str] | None:
    """Names of the files that the index lists, sorted; None where there is no index.

    Raises:
        InputError: the index is not one.
    """
    index = _read_index(folder)
    return None if index is None else sorted(set(index.values()))


class WeightFiles:
    """All tensors of a folder by name, wherever they lie; each file is opened once."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            InputError: there are no weights in the folder, or the index is not one.
        """
        self.folder = folder
        self.file_of = _file_of_each_tensor(folder)
        self._stack = ExitStack()
        self._handles: dict[str, Any] = {}

    def __enter__(self) -> WeightFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __contains__(self, name: str) -> bool:
        return name in self.file_of

    def tensor(self, name: str) -> Tensor:
        """A whole tensor."""
        return self._file(name).get_tensor(name)

    def slice(self, name: str) -> Any:
        """A lazy view of a tensor: indexing it reads just those rows or columns."""
        return self._file(name).get_slice(name)

    def shape(self, name: str) -> list[int]:
        return self.slice(name).get_shape()

    def _file(self, name: str) -> Any:
        if name not in self:
            raise InputError(f"{self.folder}: the weights have no tensor {name}")
        file = self.file_of[name]
        if file not in self._handles:
            self._handles[file] = self._stack.enter_context(safe_open(self.folder / file, framework="pt"))
        return self._handles[file]


def _file_of_each_tensor(folder: Path) -> dict[str, str]:
    index = _read_index(folder)
    if index is not None:
        return index
    if not (folder / SINGLE_NAME).is_file():
        raise InputError(f"{folder}: no {SINGLE_NAME} and no {INDEX_NAME}; expected a Hugging Face model folder")
    with safe_open(folder / SINGLE_NAME, framework="pt") as file:
        return dict.fromkeys(file.keys(), SINGLE_NAME)


def _read_index(folder: Path) -> dict[str, str] | None:
    """Tensor name → file name."""
    path = folder / INDEX_NAME
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["weight_map"].items())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: expected a weight_map, tensor by tensor: {error!r}; fetch it again") from None
