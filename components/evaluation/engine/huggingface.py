"""Models run by transformers: plain Hugging Face folders, and compressed-tensors ones (AWQ) just the same."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, DynamicCache, PreTrainedModel

from components.evaluation.engine.interface import NextToken
from components.evaluation.engine.text import ModelText
from components.platform.errors import InputError
from components.platform.quiet import stderr_only_on_failure
from components.platform.weights import check_whole


class HuggingFaceEngine(ModelText):
    """A causal language model in a Hugging Face folder, on the GPUs there are, else on the CPU."""

    def __init__(self, folder: Path, dtype: str = "auto") -> None:
        """
        Raises:
            InputError: there is no whole model in the folder. Using it raises the same where weights are missing.
        """
        check_whole(folder)
        super().__init__(folder)
        self._dtype = dtype
        self._prefix: tuple[tuple[int, ...], DynamicCache] | None = None

    @cached_property
    def _model(self) -> PreTrainedModel:
        placement = {"device_map": "auto"} if torch.cuda.is_available() else {}
        with stderr_only_on_failure():
            model, loading = AutoModelForCausalLM.from_pretrained(
                self._folder,
                dtype=self._dtype,
                output_loading_info=True,
                use_safetensors=True,
                trust_remote_code=False,
                **placement,
            )
        if loading["missing_keys"]:  # transformers would go on with random ones
            raise InputError(f"{self._folder}: weights are missing: {', '.join(sorted(loading['missing_keys']))}")
        return model.eval()

    @torch.inference_mode()
    def next_tokens(
        self, prompts: Sequence[Sequence[int]], choices: Sequence[Sequence[int]], shared: int = 0
    ) -> list[NextToken]:
        """One forward pass over all prompts."""
        logprobs = self._read(prompts, shared).logits.log_softmax(dim=-1).cpu()
        return [
            NextToken(int(row.argmax()), row[list(asked)].tolist())
            for row, asked in zip(logprobs, choices, strict=True)
        ]

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[Sequence[int]],
        temperature: float,
        max_new_tokens: int,
        shared: int = 0,
    ) -> list[list[str]]:
        """All replies to all prompts, token by token.

        A prompt is read once for all its replies. A reply that ends leaves the batch, so long ones don't wait for
        room.
        """
        reading = self._read(prompts, shared, max_new_tokens)
        reading.select([index for index, own in enumerate(seeds) for _ in own])
        draws = _Draws([seed for own in seeds for seed in own], temperature, max_new_tokens)
        replies: list[list[int]] = [[] for _ in range(draws.rows)]
        going = list(range(draws.rows))
        for step in range(max_new_tokens):
            tokens = draws.tokens(reading.logits, going, step)
            for row, token in zip(going, tokens, strict=True):
                replies[row].append(token)
            alive = [index for index, token in enumerate(tokens) if token not in self.stop_tokens]
            if not alive or step + 1 == max_new_tokens:
                break
            if len(alive) < len(going):
                reading.select(alive)
                going = [going[index] for index in alive]
            self._go_on(reading, [tokens[index] for index in alive])
        texts = iter(map(self.reply, replies))
        return [[next(texts) for _ in own] for own in seeds]

    def _read(self, prompts: Sequence[Sequence[int]], shared: int, new: int = 0) -> _Reading:
        """The model's state after prompts.

        What comes after the shared tokens is padded on its left, so that the last position is the last token of each
        prompt, and logits are computed for that position alone: [batch, vocabulary] instead of [batch, length,
        vocabulary].
        """
        window = getattr(self._model.config, "sliding_window", None)
        if window and max(map(len, prompts)) + new > window:
            shared = 0  # padding behind the shared tokens would move them out of the window
        own = [list(prompt[shared:]) for prompt in prompts]
        width = max(map(len, own))
        device = self._model.device
        tokens = torch.tensor([[0] * (width - len(rest)) + rest for rest in own], device=device)
        mask = torch.tensor([[1] * shared + [0] * (width - len(rest)) + [1] * len(rest) for rest in own], device=device)
        reading = _Reading(mask, self._prefix_cache(tuple(prompts[0][:shared]), len(prompts)))
        self._forward(reading, tokens)
        return reading

    def _prefix_cache(self, prefix: tuple[int, ...], rows: int) -> DynamicCache:
        """Keys and values of what all prompts begin with, computed when it first comes up, in so many rows."""
        if self._prefix is None or self._prefix[0] != prefix:
            cache = DynamicCache(config=self._model.config)
            if prefix:
                reading = _Reading(torch.ones(1, len(prefix), dtype=torch.long, device=self._model.device), cache)
                self._forward(reading, torch.tensor([prefix], device=self._model.device))
            self._prefix = (prefix, cache)
        cache = copy.deepcopy(self._prefix[1])
        cache.batch_repeat_interleave(rows)
        return cache

    def _go_on(self, reading: _Reading, tokens: Sequence[int]) -> None:
        reading.mask = torch.nn.functional.pad(reading.mask, (0, 1), value=1)
        self._forward(reading, torch.tensor(tokens, device=self._model.device).unsqueeze(1))

    def _forward(self, reading: _Reading, tokens: torch.Tensor) -> None:
        """Read more tokens, [rows, length], for which the mask is there already."""
        positions = (reading.mask.cumsum(dim=-1) - 1).clamp(min=0)  # a prompt begins at 0, whatever is before it
        with stderr_only_on_failure():  # the first pass unpacks quantized weights
            output = self._model(
                input_ids=tokens,
                attention_mask=reading.mask,
                position_ids=positions[:, -tokens.shape[1] :],
                past_key_values=reading.cache,
                logits_to_keep=1,
                use_cache=True,
            )
        reading.logits = output.logits[:, -1].float()


class _Reading:
    """Rows that a model has read.

    Attributes:
        mask: 1 for tokens, 0 for padding, [rows, length].
        cache: keys and values of all of them.
        logits: what may come next, float32 [rows, vocabulary].
    """

    logits: torch.Tensor

    def __init__(self, mask: torch.Tensor, cache: DynamicCache) -> None:
        self.mask, self.cache = mask, cache

    def select(self, rows: Sequence[int]) -> None:
        """Keep these rows, in this order; one may be taken several times."""
        indices = torch.tensor(rows)  # on the CPU: layers may lie on several devices
        self.mask, self.logits = self.mask[indices], self.logits[indices]
        self.cache.batch_select_indices(indices)


class _Draws:
    """Tokens drawn by one uniform number per reply and step, fixed by the reply's seed before anything is computed.

    The number picks a place in the distribution function, so a reply is the same in whatever company, and on whatever
    device, as far as its logits are.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, steps: int) -> None:
        self.rows = len(seeds)
        self._temperature = temperature
        self._numbers = torch.stack(
            [torch.rand(steps, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        )

    def tokens(self, logits: torch.Tensor, rows: Sequence[int], step: int) -> list[int]:
        """The next token of each reply in `rows`, whose logits are [len(rows), vocabulary]."""
        if self._temperature == 0:
            return logits.argmax(dim=-1).tolist()
        distribution = (logits.double() / self._temperature).softmax(dim=-1).cumsum(dim=-1)
        numbers = self._numbers[list(rows), step].to(logits.device).unsqueeze(1)
        tokens = torch.searchsorted(distribution, numbers, right=True).squeeze(1)
        return tokens.clamp(max=logits.shape[1] - 1).tolist()  # rounding may keep the last sum below a number
