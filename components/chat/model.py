"""An exported model and its tokenizer, loaded for a conversation, and its answers token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.platform.chat import END, START, Message
from components.platform.errors import InputError
from components.platform.quiet import stderr_only_on_failure

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TextStreamer


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn: `temperature` 0 always takes the likeliest token."""

    max_new_tokens: int
    temperature: float


class ChatModel:
    """A Hugging Face model, plain or AWQ in compressed-tensors, that speaks ChatML."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._model = model
        self._end = tokenizer.convert_tokens_to_ids(END)

    @classmethod
    def load(cls, folder: Path) -> ChatModel:
        """Load from an artifact or from its `model/` folder.

        Raises:
            InputError: files are missing, or the tokenizer has no ChatML tokens or chat template.
        """
        folder = find_model(folder)
        # Imported when the folder has proved right: these take seconds.
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder)
        known = tokenizer.get_vocab()
        if START not in known or END not in known or not tokenizer.chat_template:
            raise InputError(
                f"{folder}: the tokenizer lacks {START}, {END} or a chat template; chat needs a fine-tuned model"
            )
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
        with stderr_only_on_failure():
            model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").to(device)
        return cls(model.eval(), tokenizer)

    def answer(self, messages: Sequence[Message], sampling: Sampling, streamer: TextStreamer | None = None) -> str:
        """Continue a conversation with one answer; `streamer` gets its tokens as they come.

        Raises:
            InputError: the conversation leaves no room for an answer in the model's context.
        """
        prompt = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(self._model.device)
        length, limit = prompt["input_ids"].shape[1], self._model.config.max_position_embeddings
        if length >= limit:
            raise InputError(f"the conversation has {length} tokens, the model's context {limit}; start a new one")
        with stderr_only_on_failure():  # the first answer unpacks quantized weights
            output = self._model.generate(
                **prompt,
                max_new_tokens=min(sampling.max_new_tokens, limit - length),
                do_sample=sampling.temperature > 0,
                temperature=sampling.temperature or None,
                eos_token_id=[self._end, self.tokenizer.eos_token_id],
                pad_token_id=self.tokenizer.pad_token_id,
                streamer=streamer,
            )
        return self.tokenizer.decode(output[0, length:], skip_special_tokens=True).strip()


def find_model(folder: Path) -> Path:
    """The Hugging Face folder that is `folder` or lies in its `model/`.

    Raises:
        InputError: there is none, or it is incomplete.
    """
    if (folder / "model").is_dir():
        folder = folder / "model"
    missing = [name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()]
    if not list(folder.glob("*.safetensors")):
        missing.append("*.safetensors")
    if missing:
        raise InputError(f"{folder}: {', '.join(missing)} missing; expected an exported Hugging Face model")
    return folder
