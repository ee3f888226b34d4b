"""Models run by transformers: plain Hugging Face folders, and compressed-tensors ones (AWQ) just the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.evaluation.engine.interface import NextToken
from components.platform import chat
from components.platform.errors import InputError
from components.platform.quiet import stderr_only_on_failure

# The role names that every published chat template knows; ours reads them as question and answer.
COMMON_ROLES = {"question": "user", "answer": "assistant"}


class HuggingFaceEngine:
    """A causal language model in a Hugging Face folder, on the GPUs there are, else on the CPU."""

    def __init__(self, folder: Path, dtype: str = "auto") -> None:
        """
        Raises:
            InputError: there is no model in the folder, or weights are missing.
        """
        if not (folder / "config.json").is_file():
            raise InputError(f"{folder}: no config.json; expected a Hugging Face model folder")
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        placement = {"device_map": "auto"} if torch.cuda.is_available() else {}
        with stderr_only_on_failure():
            self._model, loading = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, output_loading_info=True, **placement
            )
        if loading["missing_keys"]:  # transformers would go on with random ones
            raise InputError(f"{folder}: weights are missing: {', '.join(sorted(loading['missing_keys']))}")
        self._model.eval()
        self.max_length: int | None = getattr(self._model.config, "max_position_embeddings", None)

    def render(self, messages: Sequence[chat.Message]) -> str:
        if not self._tokenizer.chat_template:
            return chat.render(messages, add_generation_prompt=True)
        turns = [{**message, "role": COMMON_ROLES.get(message["role"], message["role"])} for message in messages]
        return self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)

    def encode(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]

    def decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(list(tokens))

    @torch.inference_mode()
    def next_tokens(self, prompts: Sequence[Sequence[int]], choices: Sequence[Sequence[int]]) -> list[NextToken]:
        """One forward pass over all prompts.

        Prompts are padded on the left, so that the last position is the last token of each, and logits are
        computed for that position alone: [batch, vocabulary] instead of [batch, length, vocabulary].
        """
        length = max(map(len, prompts))
        padding = [[0] * (length - len(prompt)) for prompt in prompts]
        device = self._model.device
        tokens = torch.tensor([pad + list(prompt) for pad, prompt in zip(padding, prompts, strict=True)])
        mask = torch.tensor([pad + [1] * len(prompt) for pad, prompt in zip(padding, prompts, strict=True)])
        positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)  # a prompt begins at 0, whatever is before it
        with stderr_only_on_failure():  # the first pass unpacks quantized weights
            logits = self._model(
                input_ids=tokens.to(device),
                attention_mask=mask.to(device),
                position_ids=positions.to(device),
                logits_to_keep=1,
                use_cache=False,
            ).logits[:, -1]
        logprobs = logits.float().log_softmax(dim=-1).cpu()
        return [
            NextToken(int(row.argmax()), row[list(asked)].tolist())
            for row, asked in zip(logprobs, choices, strict=True)
        ]
