"""The weights in a Hugging Face model folder: one safetensors file, or several and an index of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from components.platform.errors import InputError
from components.platform.model_folder import CONFIG_NAME, check_sizes, read_object

if TYPE_CHECKING:
    from torch import Tensor

INDEX_NAME, SINGLE_NAME = "model.safetensors.index.json", "model.safetensors"
SAFETENSORS_ONLY = (
    "only safetensors are read, since loading pickled weights such as pytorch_model.bin can run any code; where you "
    "trust those, load them with transformers and write them anew with save_pretrained"
)


def indexed_files(folder: Path) -> list[str] | None:
    """Names of the files that the index lists, sorted; None where there is no index.

    Raises:
        InputError: the index is not one.
    """
    index = _read_index(folder)
    return None if index is None else sorted(set(index.values()))


def check_whole(folder: Path) -> None:
    """See from config.json and the headers of the weights whether a folder holds a whole model; torch is not needed.

    Raises:
        InputError: a file is missing, is not what its name says, or leads out of the folder; or the weights have no
            room for the sizes in config.json.
    """
    config = read_object(folder / CONFIG_NAME)
    names = indexed_files(folder)
    if names is None:
        if not (folder / SINGLE_NAME).is_file():
            raise _no_weights(folder)
        names = [SINGLE_NAME]
    for name in names:
        with opened(folder / name, framework="numpy"):
            pass
    check_sizes(config, folder / CONFIG_NAME, sum((folder / name).stat().st_size for name in names))


@contextmanager
def opened(path: Path, framework: str = "pt") -> Iterator[Any]:
    """A safetensors file, whose header was compared with its size.

    Raises:
        InputError: it is missing, or not a whole one.
    """
    try:
        file = safe_open(path, framework=framework)
    except FileNotFoundError:
        raise InputError(f"{path}: missing; fetch the model again") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: damaged or cut short, not a safetensors file ({error}); fetch it again") from None
    with file:
        yield file


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
            self._handles[file] = self._stack.enter_context(opened(self.folder / file))
        return self._handles[file]


def _file_of_each_tensor(folder: Path) -> dict[str, str]:
    index = _read_index(folder)
    if index is not None:
        return index
    if not (folder / SINGLE_NAME).is_file():
        raise _no_weights(folder)
    with opened(folder / SINGLE_NAME) as file:
        return dict.fromkeys(file.keys(), SINGLE_NAME)


def _read_index(folder: Path) -> dict[str, str] | None:
    """Tensor name → file name."""
    path = folder / INDEX_NAME
    if not path.is_file():
        return None
    weight_map = read_object(path).get("weight_map")
    if not isinstance(weight_map, dict):
        raise InputError(f"{path}: expected a weight_map, tensor by tensor; fetch it again")
    for tensor, name in weight_map.items():
        if not isinstance(name, str) or "/" in name or not name.endswith(".safetensors"):
            raise InputError(
                f"{path}: weight_map: {tensor} lies in {name!r}; expected a safetensors file of this folder"
            )
    return weight_map


def _no_weights(folder: Path) -> InputError:
    return InputError(f"{folder}: no {SINGLE_NAME} and no {INDEX_NAME}; {SAFETENSORS_ONLY}")
