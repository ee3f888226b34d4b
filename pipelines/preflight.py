"""Checks before anything is spent."""

from __future__ import annotations

from components.platform import data
from components.platform.errors import InputError
from pipelines.recipe import Recipe


def check_sources(recipe: Recipe) -> None:
    """Make sure that every stage will find its source files, the last one's too.

    Raises:
        InputError: some are missing; the message names them all, and the sections that want them.
    """
    problems = []
    for section in ("corpus", "pretrain", "sft", "quantization", "base_evaluation", "evaluation"):
        for pattern in getattr(recipe, section).source_patterns():
            try:
                data.check(recipe.platform, pattern)
            except InputError as error:
                problems.append(f"{section}: {error}")
    if problems:
        raise InputError("\n".join(dict.fromkeys(problems)))
