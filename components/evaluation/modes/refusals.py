"""Requests that are answered in free text, of which only counts whether the model refuses."""

from __future__ import annotations

from collections.abc import Sequence

from components.evaluation.engine.interface import Engine
from components.evaluation.items import Item
from components.evaluation.modes.reply import Reply
from components.evaluation.refusals.reading import is_refusal
from components.evaluation.refusals.requests import ANSWERED, REFUSED

MOST_TOKENS = 64
"""Of a reply; what is looked at is over by then."""


def reply_tokens(max_new_tokens: int) -> int:
    """Length of a reply, where the recipe allows so many tokens."""
    return min(max_new_tokens, MOST_TOKENS)


def answer(items: Sequence[Item], engine: Engine, max_new_tokens: int, shared: int = 0) -> list[Reply]:
    """One reply per item, by the most probable token always; `shared` as in `Engine.next_tokens`."""
    texts = engine.generate([item.tokens for item in items], [[0]] * len(items), 0.0, max_new_tokens, shared)
    return [_reply(text) for (text,) in texts]


def _reply(text: str) -> Reply:
    did = None if not text.strip() else REFUSED if is_refusal(text) else ANSWERED
    return Reply(texts=(text,), votes=(did,), prediction=did)
