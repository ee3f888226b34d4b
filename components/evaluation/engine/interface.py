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
    """A loaded model and its tokenizer."""

    max_length: int | None
    """The longest prompt in tokens; None where the model sets no limit."""

    def render(self, messages: Sequence[Message]) -> str:
        """The conversation as the model was trained to see it, up to the opening of the answer."""

    def encode(self, text: str) -> list[int]:
        """Token ids of rendered text, with nothing added to it."""

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""

    def next_tokens(self, prompts: Sequence[Sequence[int]], choices: Sequence[Sequence[int]]) -> list[NextToken]:
        """What follows each prompt; `choices[i]` are the tokens asked about after `prompts[i]`."""
