"""Making a question fit a model's sequence length without losing what it asks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from components.platform.questions.question import Question

Length = Callable[[Question], int]


def shorten_context(question: Question, length: Length, limit: int) -> Question | None:
    """The question with as much of its context, from its start, as fits `limit`; None if no cut suffices.

    Args:
        length: tokens of the whole prompt (and answer, where there is one) that a question becomes.
        limit: the most tokens allowed.
    """
    ends = [0, *(match.end() for match in re.finditer(r"\S+", question.context))]
    return _longest(len(ends), lambda index: replace(question, context=question.context[: ends[index]]), length, limit)


def shorten_question(question: Question, length: Length, limit: int) -> Question | None:
    """The question without context, with as much of its own end as fits `limit`; None if no cut suffices.

    A vignette leads up to what is asked, so its end is kept.
    """
    words = [match.start() for match in re.finditer(r"\S+", question.question)]
    starts = [len(question.question), *reversed(words)]
    return _longest(
        len(starts),
        lambda index: replace(question, context="", question=question.question[starts[index] :]),
        length,
        limit,
    )


def _longest(count: int, version: Callable[[int], Question], length: Length, limit: int) -> Question | None:
    """The last of `count` versions (shortest first) that fits; by bisection, as each try tokenizes."""
    low, high = -1, count - 1
    while low < high:
        middle = (low + high + 1) // 2
        if length(version(middle)) <= limit:
            low = middle
        else:
            high = middle - 1
    return version(low) if low >= 0 else None
