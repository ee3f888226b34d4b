"""The text side of a model in a Hugging Face folder: its tokenizer, its chat template, its limits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import AutoConfig, AutoTokenizer

from components.platform import chat
from components.platform.errors import InputError
from components.platform.model_folder import read_object

# The role names that every published chat template knows; ours reads them as question and answer.
COMMON_ROLES = {"question": "user", "answer": "assistant"}


class ModelText:
    """What an engine says about text; see `Engine`. Besides, `stop_tokens` are those that end a reply."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            InputError: there is no model in the folder.
        """
        if not (folder / "config.json").is_file():
            raise InputError(f"{folder}: no config.json; expected a Hugging Face model folder")
        self._folder = folder
        self._tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        self.max_length: int | None = getattr(config, "max_position_embeddings", None)
        self.start = self._start()
        self.stop_tokens = self._stop_tokens()

    def render(self, messages: Sequence[chat.Message]) -> str:
        if not self._tokenizer.chat_template:
            if missing := [token for token in chat.SPECIAL_TOKENS if self._id(token) is None]:
                raise InputError(
                    f"{self._folder}: the tokenizer has no chat template and no {' or '.join(missing)}, so the model "
                    "knows no chat; evaluate a base model with `modes: [few_shot]`"
                )
            return chat.render(messages, add_generation_prompt=True)
        turns = [{**message, "role": COMMON_ROLES.get(message["role"], message["role"])} for message in messages]
        return self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)

    def encode(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]

    def decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(list(tokens))

    def reply(self, tokens: Sequence[int]) -> str:
        """The text of generated tokens, without what ended them."""
        end = next((index for index, token in enumerate(tokens) if token in self.stop_tokens), len(tokens))
        return self.decode(tokens[:end])

    def _id(self, token: str) -> int | None:
        return self._tokenizer.get_vocab().get(token)

    def _start(self) -> tuple[int, ...]:
        first = self._tokenizer("a")["input_ids"][0]
        return (first,) if first == self._tokenizer.bos_token_id else ()

    def _stop_tokens(self) -> frozenset[int]:
        """The tokenizer's end of text, ChatML's end of a turn, and those that the model's own configuration names."""
        path = self._folder / "generation_config.json"
        named = read_object(path).get("eos_token_id") if path.is_file() else None
        found = [self._tokenizer.eos_token_id, self._id(chat.END), *(named if isinstance(named, list) else [named])]
        return frozenset(token for token in found if token is not None)
