"""Hugging Face model folders from outside: their JSON files and tokenizer read, and their sizes checked.

Neither torch nor transformers is imported: a folder is refused before anything heavy is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.platform.errors import InputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CONFIG_NAME, TOKENIZER_NAME = "config.json", "tokenizer.json"
MAX_JSON_BYTES = 256 << 20  # tokenizers with the largest vocabularies have 35 MB
VALUES_PER_BYTE = 2  # in weights of 4 bits, the smallest there are

_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
_OPTIONAL_SIZES = (
    "intermediate_size",
    "ffn_hidden_size",
    "num_key_value_heads",
    "num_kv_heads",
    "head_dim",
    "max_position_embeddings",
)


def read_object(path: Path, expected: str = "expected a Hugging Face model folder") -> dict[str, Any]:
    """The content of a JSON file.

    Args:
        expected: what the message says where there is no such file.

    Raises:
        InputError: there is none, or it is no JSON object, or much too large for one.
    """
    try:
        if (size := path.stat().st_size) > MAX_JSON_BYTES:
            raise InputError(f"{path}: {size:,} bytes, at most {MAX_JSON_BYTES:,}; this is no description of a model")
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: missing; {expected}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(record, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(record).__name__}")
    return record


def load_tokenizer(folder: Path) -> Tokenizer:
    """The fast tokenizer in a folder.

    Raises:
        InputError: there is no readable tokenizer.json.
    """
    from tokenizers import Tokenizer

    path = folder / TOKENIZER_NAME
    if not path.is_file():
        raise InputError(
            f"{path}: missing; expected a fast tokenizer (load it with transformers and call save_pretrained)"
        )
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise InputError(f"{path}: not a tokenizer: {error}") from None


def check_sizes(record: Mapping[str, Any], path: Path, weight_bytes: int) -> None:
    """See whether a model can be as large as its config.json says, before memory for it is asked for.

    Each matrix that a size stands for lies in the weights, so none can have more values than those have room for.

    Args:
        record: content of the config.json.
        path: where that lies, for messages.
        weight_bytes: size of all files of weights together.

    Raises:
        InputError: a size is missing, is no positive integer, or is too large for the weights that are there.
    """
    sizes = {key: _size(record, key, path) for key in (*_SIZES, *_OPTIONAL_SIZES) if _is_given(record, key)}
    room = VALUES_PER_BYTE * weight_bytes
    hidden, layers, heads = (sizes[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads"))
    head_dim = sizes.get("head_dim", max(1, hidden // heads))
    matrices = {
        "vocab_size × hidden_size": sizes["vocab_size"] * hidden,
        "num_hidden_layers × hidden_size × num_attention_heads × head_dim": layers * hidden * heads * head_dim,
    }
    for key in ("intermediate_size", "ffn_hidden_size"):
        matrices[f"num_hidden_layers × hidden_size × {key}"] = layers * hidden * sizes.get(key, 0)
    for key in ("num_key_value_heads", "num_kv_heads"):
        matrices[f"num_hidden_layers × hidden_size × {key} × head_dim"] = layers * hidden * sizes.get(key, 0) * head_dim
    for name, values in matrices.items():
        if values > room:
            raise InputError(
                f"{path}: {name} is {values:,}, but the weights have room for {room:,} values at most; "
                "config.json and weights must be of one model"
            )


def _is_given(record: Mapping[str, Any], key: str) -> bool:
    return key in _SIZES or record.get(key) is not None


def _size(record: Mapping[str, Any], key: str, path: Path) -> int:
    value = record.get(key)
    if type(value) is not int or value < 1:
        raise InputError(f"{path}: {key} is {value!r}; expected a positive integer")
    return value
