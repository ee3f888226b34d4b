"""Which answered questions a base model is shown before the one it is asked."""

from __future__ import annotations

from collections.abc import Sequence

from components.platform.errors import InputError
from components.platform.questions.question import Question
from components.platform.questions.sampling import sample


def choose_demonstrations(
    candidates: Sequence[Question], asked: Sequence[Question], shots: int, seed: int
) -> list[Question]:
    """One set of `shots` demonstrations for all questions, as in the paper; another seed, another set.

    Candidates whose text is also asked are never shown, whatever their id: published splits overlap here and there.

    Raises:
        InputError: too few candidates are left.
    """
    texts = {_text(question) for question in asked}
    left = [candidate for candidate in candidates if _text(candidate) not in texts]
    if len(left) < shots:
        names = sorted({question.benchmark for question in asked})
        raise InputError(
            f"{', '.join(names)}: {shots} demonstrations are wanted, but of {len(candidates)} candidates only "
            f"{len(left)} are not among the questions asked; lower few_shot.shots"
        )
    return sample(left, shots, seed)


def _text(question: Question) -> str:
    return " ".join(question.question.casefold().split())
