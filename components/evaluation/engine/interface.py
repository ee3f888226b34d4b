"""What evaluation asks of whatever runs the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from components.platform.chat import Message


@dataclass(frozen=True)
class NextToken:
    """What a model says comes after a prompt.

    Attributes:
        top: the most probable token of the whole vocabulary.
        choice_logprobs: log-probability (nats) of each token asked about.
    """

    top: int
    choice_logprobs: list[float]


class Engine(Protocol):
    """A model and its tokenizer. Weights may be loaded only when they are first needed."""

    max_length: int | None
    """The longest prompt in tokens, its reply included; None where the model sets no limit."""

    start: tuple[int, ...]
    """Tokens that a plain text begins with, such as Llama's `<s>`."""

    def render(self, messages: Sequence[Message]) -> str:
        """The conversation as the model was trained to see it, up to the opening of the answer.

        Raises:
            InputError: the model knows no chat.
        """

    def encode(self, text: str) -> list[int]:
        """Token ids of rendered text, with nothing added to it."""

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""

    def next_tokens(
        self, prompts: Sequence[Sequence[int]], choices: Sequence[Sequence[int]], shared: int = 0
    ) -> list[NextToken]:
        """What follows each prompt; `choices[i]` are the tokens asked about after `prompts[i]`.

        Args:
            shared: so many tokens at the start of all these prompts are the same, here and in the calls to come; an
                engine may compute them once. It must leave each prompt at least one token of its own.
        """

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[Sequence[int]],
        temperature: float,
        max_new_tokens: int,
        shared: int = 0,
    ) -> list[list[str]]:
        """`len(seeds[i])` replies to each prompt, up to the end of the model's turn.

        Args:
            seeds: each reply is drawn with its own seed, so that it depends on nothing that shares its batch (but for
                the rounding of floats, which may turn a near tie).
            temperature: what logits are divided by; 0 takes the most probable token always, whatever the seed.
            max_new_tokens: replies are cut off there.
            shared: as in `next_tokens`.
        """
