"""What training needs to know of a tokenizer folder; the folder itself is the corpus stage's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.platform.chat import END
from components.platform.errors import InputError
from components.platform.model_folder import TOKENIZER_NAME, load_tokenizer, read_object


@dataclass(frozen=True)
class TokenizerFacts:
    """Number of ids (one more than the largest) and, where they exist, the ids of special tokens.

    `turn_end` ends each message of a conversation.
    """

    vocab_size: int
    bos: int | None
    eos: int | None
    pad: int | None
    turn_end: int | None


def read_tokenizer(folder: Path) -> TokenizerFacts:
    """Read a Hugging Face fast tokenizer folder.

    Raises:
        InputError: there is none, or it can't be read.
    """
    tokenizer = load_tokenizer(folder)
    config_path = folder / "tokenizer_config.json"
    config = read_object(config_path) if config_path.is_file() else {}

    def token_id(key: str) -> int | None:
        token: Any = config.get(key)
        return tokenizer.token_to_id(token["content"] if isinstance(token, dict) else token) if token else None

    return TokenizerFacts(
        vocab_size=max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1,
        bos=token_id("bos_token"),
        eos=token_id("eos_token"),
        pad=token_id("pad_token"),
        turn_end=tokenizer.token_to_id(END),
    )


def check_same_tokens(model: Path, tokenizer: Path) -> None:
    """Make sure that data tokenized with `tokenizer` means to the model in `model` what it should.

    Each token of the model's own tokenizer must have the same id in the other; the other may have more.

    Raises:
        InputError: a token has another id, or the model has no tokenizer to compare.
    """
    known, given = (load_tokenizer(folder).get_vocab(with_added_tokens=True) for folder in (model, tokenizer))
    for token, token_id in known.items():
        if given.get(token) != token_id:
            found = given.get(token, "missing")
            raise InputError(
                f"{tokenizer / TOKENIZER_NAME}: token {token!r} is {found}, but {token_id} for the model in {model}; "
                "build the corpus with the tokenizer of the model that is trained"
            )
