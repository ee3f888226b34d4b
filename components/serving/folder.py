"""What an exported model's folder must hold, seen from its files alone, in milliseconds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from components.platform.chat import SPECIAL_TOKENS
from components.platform.errors import InputError
from components.platform.weights import indexed_files

_FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
_TEMPLATE = "chat_template.jinja"


@dataclass(frozen=True)
class ModelFolder:
    """A complete Hugging Face folder of a model that speaks ChatML, plain or AWQ in compressed-tensors.

    `context` is the largest number of tokens of a conversation, the answer included (None: its config doesn't say);
    `generation` is what `generation_config.json` says.
    """

    path: Path
    context: int | None
    generation: dict[str, Any]


def find_model(folder: Path) -> ModelFolder:
    """The model that is `folder` or lies in its `model/`; neither torch nor transformers is imported.

    Raises:
        InputError: there is none, it is incomplete, or it has no ChatML tokens or no chat template.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected an exported Hugging Face model")
    if (folder / "model").is_dir():
        folder = folder / "model"
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if not (weights := _weights(folder)):
        missing.append("*.safetensors")
    missing += [path.name for path in weights if not path.is_file()]
    if missing:
        raise InputError(f"{folder}: {', '.join(missing)} missing; expected an exported Hugging Face model")
    _check_weights(weights)
    _check_chatml(folder)
    context = _json(folder / "config.json").get("max_position_embeddings")
    return ModelFolder(folder, context, _json(folder / "generation_config.json"))


def room_for_answer(length: int, context: int) -> int:
    """Tokens that an answer may have behind a conversation of `length` tokens.

    Raises:
        InputError: none.
    """
    if length >= context:
        raise InputError(f"the conversation has {length} tokens, the model's context {context}; start a new one")
    return context - length


def _weights(folder: Path) -> list[Path]:
    """The files that the index names, or those that are there."""
    indexed = indexed_files(folder)
    return sorted(folder.glob("*.safetensors")) if indexed is None else [folder / name for name in indexed]


def _check_weights(paths: list[Path]) -> None:
    for path in paths:
        try:
            with safe_open(path, framework="numpy"):  # compares the header with the size of the file
                pass
        except SafetensorError as error:
            raise InputError(f"{path}: not a whole safetensors file ({error}); copy or export it again") from None


def _check_chatml(folder: Path) -> None:
    known = {token["content"] for token in _json(folder / "tokenizer.json").get("added_tokens", [])}
    lacking = [f"the token {token}" for token in SPECIAL_TOKENS if token not in known]
    if not _json(folder / "tokenizer_config.json").get("chat_template") and not (folder / _TEMPLATE).is_file():
        lacking.append("a chat template")
    if lacking:
        raise InputError(f"{folder}: the tokenizer lacks {', '.join(lacking)}; chat needs a fine-tuned model")


def _json(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(record, dict):
        raise InputError(f"{path}: expected a JSON object")
    return record
