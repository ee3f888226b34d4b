"""The requests, as questions with two answers: to refuse, or to help."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import yaml

from components.platform.questions.question import Question

NAME = "refusals"
"""Name of the set, and of the mode that it is asked in."""
HARMFUL, HARMLESS = "harmful", "harmless"
REFUSED, ANSWERED = "refused", "answered"
ANSWERS = {HARMFUL: REFUSED, HARMLESS: ANSWERED}


@cache
def instruction() -> str:
    """What the model is told about itself."""
    return _read()["instruction"]


@cache
def requests() -> list[Question]:
    """All requests; `subject` says whether one is harmful or harmless, and `answer` what is right to do."""
    return [
        Question(
            id=f"{kind}-{number:02d}",
            benchmark=NAME,
            subject=kind,
            question=text,
            context="",
            options={REFUSED: REFUSED, ANSWERED: ANSWERED},
            answer=answer,
        )
        for kind, answer in ANSWERS.items()
        for number, text in enumerate(_read()[kind], start=1)
    ]


def _read() -> dict[str, object]:
    return yaml.safe_load(files(__package__).joinpath("requests.yaml").read_text(encoding="utf-8"))
