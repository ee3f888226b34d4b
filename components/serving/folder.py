"""What an exported model's folder must hold, seen from its files alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.platform.chat import SPECIAL_TOKENS
from components.platform.errors import InputError
from components.platform.model_folder import load_tokenizer, read_object
from components.platform.weights import check_whole

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
    if missing:
        raise InputError(f"{folder}: {', '.join(missing)} missing; expected an exported Hugging Face model")
    check_whole(folder)
    _check_chatml(folder)
    context = read_object(folder / "config.json").get("max_position_embeddings")
    return ModelFolder(folder, context, read_object(folder / "generation_config.json"))


def room_for_answer(length: int, context: int) -> int:
    """Tokens that an answer may have behind a conversation of `length` tokens.

    Raises:
        InputError: none.
    """
    if length >= context:
        raise InputError(f"the conversation has {length} tokens, the model's context {context}; start a new one")
    return context - length


def _check_chatml(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    lacking = [f"the token {token}" for token in SPECIAL_TOKENS if tokenizer.token_to_id(token) is None]
    if not read_object(folder / "tokenizer_config.json").get("chat_template") and not (folder / _TEMPLATE).is_file():
        lacking.append("a chat template")
    if lacking:
        raise InputError(f"{folder}: the tokenizer lacks {', '.join(lacking)}; chat needs a fine-tuned model")
