"""A fixed, reproducible part of a benchmark."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from components.platform.questions.question import Question


def sample(questions: Sequence[Question], max_items: int | None, seed: int) -> list[Question]:
    """At most `max_items` questions, in their original order; None keeps all.

    Those whose hash of (seed, id) is smallest are kept: which ones does not depend on the order of the file,
    and a larger sample contains the smaller ones.
    """
    if max_items is None or len(questions) <= max_items:
        return list(questions)
    chosen = set(sorted(range(len(questions)), key=lambda index: _rank(questions[index], seed))[:max_items])
    return [question for index, question in enumerate(questions) if index in chosen]


def _rank(question: Question, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{question.id}".encode(), digest_size=16).digest()
