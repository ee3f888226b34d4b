"""Chain of thought: the model thinks in words before it answers, once or several times.

Once, with the most probable token always, is zero-shot CoT (Kojima et al., 2022). Several times, drawn at random, and
the answer by majority, is self-consistency (Wang et al., 2023), the paper's SC-CoT.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from components.evaluation.engine.interface import Engine
from components.evaluation.items import Item
from components.evaluation.modes.reply import Reply
from components.evaluation.parse import parse_choice
from components.platform.questions.question import Question


def answer(
    items: Sequence[Item],
    engine: Engine,
    samples: int,
    temperature: float,
    max_new_tokens: int,
    seed: int,
    shared: int = 0,
) -> list[Reply]:
    """One reply per item, by the vote of `samples` texts; `shared` as in `Engine.next_tokens`."""
    seeds = [[sample_seed(seed, item.question, sample) for sample in range(samples)] for item in items]
    texts = engine.generate([item.tokens for item in items], seeds, temperature, max_new_tokens, shared)
    return [_reply(item, own) for item, own in zip(items, texts, strict=True)]


def vote(votes: Sequence[str | None]) -> str | None:
    """The label with the most votes; None abstains. Of several with as many, the one that was first voted for."""
    counts = Counter(label for label in votes if label is not None)
    return max(counts, key=lambda label: counts[label], default=None)


def sample_seed(seed: int, question: Question, sample: int) -> int:
    """The seed of one text: another for each item and sample, the same in every run. 63 bits, as servers accept it."""
    identity = f"{seed}:{question.benchmark}:{question.id}:{sample}"
    return int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=8).digest()) >> 1


def _reply(item: Item, texts: Sequence[str]) -> Reply:
    votes = tuple(parse_choice(text, item.question.options) for text in texts)
    return Reply(tuple(texts), votes, prediction=vote(votes))
