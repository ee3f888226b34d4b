"""The evaluation stage: a model's answers to benchmarks, judged and scored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from components.evaluation import results
from components.evaluation.engine.interface import Engine
from components.evaluation.items import Item, prepare
from components.evaluation.modes import top_token
from components.evaluation.modes.reply import NO_REPLY
from components.evaluation.report import page
from components.evaluation.results import Verdict
from components.evaluation.settings import EvaluationSettings, LabelledEvaluation
from components.platform.context import PlatformSettings
from components.platform.manifest import REPORT_NAME, Manifest
from components.platform.progress import Progress
from components.platform.questions.benchmark import load_benchmark
from components.platform.questions.readers import read_questions
from components.platform.questions.sampling import sample
from components.platform.stage import produce
from components.platform.storage import write_atomically

MODES = {"top_token": top_token.answer}


def run(
    settings: EvaluationSettings,
    platform: PlatformSettings,
    model: Manifest,
    label: str,
    baseline: Manifest | None = None,
) -> Manifest:
    """Write `results.json`, `items.jsonl` and `report.html` as an artifact of kind "evaluation".

    Args:
        model: artifact with a Hugging Face model in its folder `model/`.
        label: the model's name in the results.
        baseline: evaluation of another model to compare with, question by question.

    Raises:
        InputError: a benchmark's file is missing or broken, or the model can't be evaluated.
    """
    labelled = LabelledEvaluation(**settings.model_dump(), label=label)
    inputs = {"model": model} | ({"baseline": baseline} if baseline else {})
    benchmarks = [load_benchmark(name) for name in settings.benchmarks]
    sources = {
        file.name: file
        for benchmark in benchmarks
        for files in benchmark.files(benchmark.evaluation_split, platform).values()
        for file in files
    }

    def work(folder: Path) -> dict[str, Any]:
        if not (folder / results.ITEMS).exists():
            results.write_items(folder, evaluate(settings, platform, model.local() / "model", label, folder))
        verdicts = results.read_items(folder / results.ITEMS)
        rows = score(settings, verdicts, label, baseline)
        write_atomically(folder / results.RESULTS, json.dumps(rows, indent=1))
        write_atomically(folder / REPORT_NAME, page(label, rows, verdicts).html())
        accuracies = {f"{row['benchmark']}/accuracy": row["accuracy"] for row in rows}
        return {"model": label, "mode": settings.mode, **accuracies}

    return produce("evaluation", labelled, inputs, platform, work, list(sources.values()))


def evaluate(
    settings: EvaluationSettings, platform: PlatformSettings, model_folder: Path, label: str, folder: Path
) -> list[Verdict]:
    """Verdicts on all items, in the order of the benchmarks; what `folder` holds of an earlier run is not repeated."""
    # Imported here: torch and transformers take seconds that a result which is already there need not wait for.
    from components.evaluation.engine.huggingface import HuggingFaceEngine

    engine = HuggingFaceEngine(model_folder, settings.dtype)
    items = []
    for name in settings.benchmarks:
        benchmark = load_benchmark(name)
        questions = read_questions(benchmark, benchmark.evaluation_split, platform)
        chosen = sample(questions, settings.max_items, settings.seed)
        items += prepare(chosen, benchmark, settings.prompt_style, engine)
    verdicts = answer_all(items, engine, settings, label, folder)
    return [verdicts[item.key] for item in items]


def answer_all(
    items: Sequence[Item], engine: Engine, settings: EvaluationSettings, label: str, folder: Path
) -> dict[results.Key, Verdict]:
    """Verdicts by item, kept in `folder` batch by batch."""
    answer = MODES[settings.mode]
    verdicts = results.read_partial(folder)
    verdicts |= {item.key: results.judge(item, NO_REPLY) for item in items if not item.tokens}
    with Progress(f"evaluate {label}", len(items), "items", done=len(verdicts)) as progress:
        for batch in batches(items, settings.batch_size):
            if all(item.key in verdicts for item in batch):
                continue
            new = [results.judge(item, reply) for item, reply in zip(batch, answer(batch, engine), strict=True)]
            results.append(folder, new)
            verdicts |= {verdict.key: verdict for verdict in new}
            progress.update(len(batch), accuracy=sum(v.correct for v in verdicts.values()) / len(verdicts))
    return verdicts


def batches(items: Sequence[Item], batch_size: int) -> Iterator[list[Item]]:
    """Items of similar length together, longest first, so that running out of memory shows at once.

    Which items share a batch depends on nothing else, so a resumed run computes exactly what an unbroken one
    does.
    """
    fitting = sorted((item for item in items if item.tokens), key=lambda item: (-len(item.tokens), item.key))
    yield from (fitting[start : start + batch_size] for start in range(0, len(fitting), batch_size))


def score(
    settings: EvaluationSettings, verdicts: Sequence[Verdict], label: str, baseline: Manifest | None
) -> list[dict[str, Any]]:
    """The rows of `results.json`; with a baseline, each has the paired comparison under `versus`."""
    other = results.read_items(baseline.fetch(results.ITEMS)) if baseline else []
    rows = []
    for name in settings.benchmarks:
        own = [verdict for verdict in verdicts if verdict.benchmark == name]
        row = results.score(load_benchmark(name), own, settings.mode, label)
        if baseline:
            row["versus"] = results.compare(own, other, baseline.metadata["model"])
        rows.append(row)
    return rows
