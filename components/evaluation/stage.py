"""The evaluation stage: a model's answers to benchmarks, judged and scored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.evaluation import results, rounds
from components.evaluation.engine.interface import Engine
from components.evaluation.modes.reply import NO_REPLY
from components.evaluation.refusals.rates import REFUSALS, refusal_rates
from components.evaluation.report import page
from components.evaluation.results import Verdict
from components.evaluation.rounds import Round
from components.evaluation.settings import EvaluationSettings, LabelledEvaluation
from components.platform.context import PlatformSettings
from components.platform.manifest import REPORT_NAME, Manifest
from components.platform.progress import Progress
from components.platform.questions.benchmark import load_benchmark
from components.platform.stage import produce
from components.platform.storage import write_atomically


def run(
    settings: EvaluationSettings,
    platform: PlatformSettings,
    model: Manifest,
    label: str,
    baseline: Manifest | None = None,
) -> Manifest:
    """Write `results.json`, `items.jsonl` and `report.html` as an artifact of kind "evaluation"; and `refusals.json`,
    if the recipe asks for it.

    Args:
        model: artifact with a Hugging Face model in its folder `model/`.
        label: the model's name in the results.
        baseline: evaluation of another model to compare with, question by question.

    Raises:
        InputError: a benchmark's file is missing or broken, or the model can't be evaluated.
    """
    labelled = LabelledEvaluation(**settings.model_dump(), label=label)
    inputs = {"model": model} | ({"baseline": baseline} if baseline else {})
    sources = {
        file.name: file
        for name, split in settings.splits()
        for file in load_benchmark(name).source_files(split, platform)
    }

    def work(folder: Path) -> dict[str, Any]:
        if not (folder / results.ITEMS).exists():
            weights = model.local("model/") / "model"  # not the same in another format beside it
            results.write_items(folder, evaluate(settings, platform, weights, label, folder))
        verdicts = results.read_items(folder / results.ITEMS)
        rows = score(settings, verdicts, label, baseline)
        write_atomically(folder / results.RESULTS, json.dumps(rows, indent=1))
        refused = refusal_rates(verdicts)
        if settings.refusals:
            write_atomically(folder / REFUSALS, json.dumps(refused, indent=1))
        write_atomically(folder / REPORT_NAME, page(label, rows, verdicts, refused).html())
        rates = {f"refusals/{kind}/refused": row["refused"] for kind, row in refused.items()}
        return {"model": label} | results.numbers(rows) | rates

    return produce("evaluation", labelled, inputs, platform, work, list(sources.values()))


def evaluate(
    settings: EvaluationSettings, platform: PlatformSettings, model_folder: Path, label: str, folder: Path
) -> list[Verdict]:
    """Verdicts on all items, in the order of the rounds; what `folder` holds of an earlier run is not repeated."""
    engine = open_engine(settings, model_folder, label)
    planned = rounds.plan(settings, platform, engine)
    verdicts = answer_all(planned, engine, settings, label, folder)
    return [verdicts[results.key(round_, item)] for round_ in planned for item in round_.items]


def open_engine(settings: EvaluationSettings, model_folder: Path, label: str) -> Engine:
    """The model, ready to be asked; its weights are loaded with the first question.

    Raises:
        InputError: there is no model in the folder; or the server can't be reached or serves something else.
    """
    # Imported here: torch and transformers take seconds that a result which is already there need not wait for.
    if settings.vllm:
        from components.evaluation.engine.vllm import VllmEngine

        return VllmEngine(model_folder, label, settings.vllm.url, settings.batch_size, settings.vllm.timeout_seconds)
    from components.evaluation.engine.huggingface import HuggingFaceEngine

    return HuggingFaceEngine(model_folder, settings.dtype)


def answer_all(
    planned: Sequence[Round], engine: Engine, settings: EvaluationSettings, label: str, folder: Path
) -> dict[results.Key, Verdict]:
    """Verdicts by item, kept in `folder` batch by batch."""
    verdicts = results.read_partial(folder)
    for round_ in planned:
        too_long = [results.judge(round_, item, NO_REPLY) for item in round_.items if not item.tokens]
        verdicts |= {verdict.key: verdict for verdict in too_long}
    total = sum(len(round_.items) for round_ in planned)
    with Progress(f"evaluate {label}", total, "items", done=len(verdicts)) as progress:
        for round_ in planned:
            right: list[bool] = []
            for batch in round_.batches(rounds.prompts_at_once(round_.mode, settings)):
                missing = sum(results.key(round_, item) not in verdicts for item in batch)
                if not missing:
                    continue
                replies = rounds.answer(round_, batch, engine, settings)
                new = [results.judge(round_, item, reply) for item, reply in zip(batch, replies, strict=True)]
                results.append(folder, new)
                verdicts |= {verdict.key: verdict for verdict in new}
                right += [verdict.correct for verdict in new]
                accuracy = sum(right) / len(right)
                progress.update(missing, mode=round_.mode, benchmark=round_.benchmark, accuracy=accuracy)
    return verdicts


def score(
    settings: EvaluationSettings, verdicts: Sequence[Verdict], label: str, baseline: Manifest | None
) -> list[dict[str, Any]]:
    """The rows of `results.json`; with a baseline, each has the paired comparison under `versus`."""
    other = results.read_items(baseline.fetch(results.ITEMS)) if baseline else []
    rows = []
    for mode in settings.modes:
        for name in settings.benchmarks:
            own = [verdict for verdict in verdicts if (verdict.mode, verdict.benchmark) == (mode, name)]
            row = results.score(load_benchmark(name), own, mode, label)
            if baseline:
                row["versus"] = results.compare(own, other, baseline.metadata["model"])
            rows.append(row)
    return rows
