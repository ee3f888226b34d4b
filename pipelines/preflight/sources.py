"""Are all source files there?"""

from __future__ import annotations

from collections import defaultdict

from components.platform import data
from components.platform.errors import InputError
from pipelines.recipe import Recipe

SECTIONS = ("corpus", "pretrain", "sft", "quantization", "base_evaluation", "evaluation")


def check_sources(recipe: Recipe) -> str:
    """Make sure that every stage will find its source files, the last one's too.

    Raises:
        InputError: some are missing; the message names them all, and the sections that want them.
    """
    problems, count = defaultdict(list), 0
    for section in SECTIONS:
        for pattern in getattr(recipe, section).source_patterns():
            count += 1
            try:
                data.check(recipe.platform, pattern)
            except InputError as error:
                problems[str(error)].append(section)
    if problems:
        lines = [f"{', '.join(dict.fromkeys(sections))}: {problem}" for problem, sections in problems.items()]
        raise InputError("\n".join(lines))
    return f"{count} names and patterns below {recipe.platform.data}"
