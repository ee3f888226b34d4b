"""A folder of lm-eval tasks: for each benchmark a task's YAML and the JSON lines it reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from components.evaluation.engine.interface import Engine
from components.evaluation.items import prepare
from components.evaluation.lm_eval.documents import Document, documents
from components.evaluation.settings import EvaluationSettings
from components.platform.context import PlatformSettings
from components.platform.errors import InputError
from components.platform.questions.benchmark import Benchmark, load_benchmark
from components.platform.questions.prompt import PromptStyle
from components.platform.questions.readers import read_questions
from components.platform.questions.sampling import sample
from components.platform.storage import write_atomically

TAG = "meditron"
"""lm-eval's name for all tasks of a folder together."""


@dataclass(frozen=True)
class Task:
    """A task that was written.

    Attributes:
        name: lm-eval's name of it.
        questions: how many it has.
        too_long: how many were left out because not even a shortened prompt fits the model.
    """

    name: str
    questions: int
    too_long: int


def check_output(folder: Path) -> None:
    """
    Raises:
        InputError: there is something in the folder: tasks for another model, perhaps, which lm-eval would run too.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: there is something already; expected a new or an empty folder")


def write_tasks(settings: EvaluationSettings, platform: PlatformSettings, engine: Engine, folder: Path) -> list[Task]:
    """Write the questions that an evaluation with these settings puts to the engine's model, without demonstrations.

    Raises:
        InputError: a benchmark's file is missing or broken, or lm-eval can't score what we score with this model.
    """
    tasks = []
    for name in settings.benchmarks:
        benchmark = load_benchmark(name)
        questions = read_questions(benchmark, benchmark.evaluation_split, platform)
        items = prepare(sample(questions, settings.max_items, settings.seed), benchmark, settings.prompt_style, engine)
        lines = documents(items, benchmark, settings.prompt_style, engine)
        tasks.append(Task(task_name(benchmark), len(lines), len(items) - len(lines)))
        if lines:  # lm-eval refuses a task without any
            _write(benchmark, settings.prompt_style, lines, folder)
    return tasks


def task_name(benchmark: Benchmark) -> str:
    return f"{TAG}_{benchmark.name}"


def _write(benchmark: Benchmark, style: PromptStyle, lines: Sequence[Document], folder: Path) -> None:
    name = task_name(benchmark)
    data = folder.resolve() / f"{name}.jsonl"  # lm-eval reads a relative path from wherever it is started
    write_atomically(data, "".join(json.dumps(asdict(line)) + "\n" for line in lines))
    config = {
        "task": name,
        "tag": TAG,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {benchmark.evaluation_split: str(data)}},
        "test_split": benchmark.evaluation_split,
        "output_type": "multiple_choice",
        "doc_to_text": "context",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "target_delimiter": "",
        "num_fewshot": 0,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1, "title": benchmark.title, "prompt_style": style},
    }
    write_atomically(folder / f"{name}.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
