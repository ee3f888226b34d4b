"""The evaluation sets that a recipe protects: their files, and their questions."""

from __future__ import annotations

from components.corpus.settings import Decontaminate
from components.platform.context import PlatformSettings
from components.platform.data import SourceFile
from components.platform.questions.benchmark import load_benchmark
from components.platform.questions.question import Question
from components.platform.questions.readers import read_questions


def files(settings: Decontaminate | None, platform: PlatformSettings) -> tuple[SourceFile, ...]:
    """Files of the evaluation splits of all benchmarks that `settings` names.

    Raises:
        SettingsError: no benchmark has such a name.
        InputError: a file is missing.
    """
    found = {}
    for name in settings.benchmarks if settings else ():
        benchmark = load_benchmark(name)
        found |= {file.name: file for file in benchmark.source_files(benchmark.evaluation_split, platform)}
    return tuple(found.values())


def read(settings: Decontaminate | None, platform: PlatformSettings) -> list[Question]:
    """All questions of these splits, in the order of the benchmarks' names in the recipe."""
    benchmarks = [load_benchmark(name) for name in (settings.benchmarks if settings else ())]
    return [
        question
        for benchmark in benchmarks
        for question in read_questions(benchmark, benchmark.evaluation_split, platform)
    ]
