"""Verdicts per item and scores per benchmark, as files that anyone can read and an interrupted run continues from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.evaluation.items import Item
from components.evaluation.modes.reply import Reply
from components.evaluation.statistics import mcnemar, wilson_interval
from components.platform import storage
from components.platform.questions.benchmark import Benchmark

ITEMS, RESULTS = "items.jsonl", "results.json"
PARTIAL = f".{ITEMS}.partial"  # hidden: no part of the finished artifact

Key = tuple[str, str]


@dataclass(frozen=True)
class Verdict:
    """One line of `items.jsonl`: what a model was asked, what it replied, and whether that was right.

    `fits` is false for a question that is too long for the model even when shortened; it counts as
    unanswered.
    """

    benchmark: str
    id: str
    subject: str
    prompt: str
    shortened: bool
    fits: bool
    reply: str
    prediction: str | None
    answer: str
    correct: bool
    restricted_prediction: str | None
    choice_logprobs: dict[str, float]

    @property
    def key(self) -> Key:
        return self.benchmark, self.id


def judge(item: Item, reply: Reply) -> Verdict:
    """A reply that can't be read is wrong."""
    question = item.question
    return Verdict(
        benchmark=question.benchmark,
        id=question.id,
        subject=question.subject,
        prompt=item.prompt,
        shortened=item.shortened,
        fits=bool(item.tokens),
        reply=reply.text,
        prediction=reply.prediction,
        answer=question.answer,
        correct=reply.prediction == question.answer,
        restricted_prediction=reply.restricted_prediction,
        choice_logprobs=reply.choice_logprobs,
    )


def append(folder: Path, verdicts: Iterable[Verdict]) -> None:
    """Keep verdicts of a run that goes on."""
    lines = "".join(json.dumps(asdict(verdict)) + "\n" for verdict in verdicts)
    with (folder / PARTIAL).open("a", encoding="utf-8") as file:
        file.write(lines)


def read_partial(folder: Path) -> dict[Key, Verdict]:
    """The verdicts that an earlier, interrupted run left; its last line may be torn and is then left out."""
    path = folder / PARTIAL
    if not path.exists():
        return {}
    *lines, torn = path.read_text(encoding="utf-8").split("\n")
    if torn:
        storage.write_atomically(path, "".join(f"{line}\n" for line in lines))
    verdicts = (Verdict(**json.loads(line)) for line in lines)
    return {verdict.key: verdict for verdict in verdicts}


def write_items(folder: Path, verdicts: Iterable[Verdict]) -> None:
    """Write the finished `items.jsonl`, and drop what was kept on the way."""
    lines = (json.dumps(asdict(verdict)) + "\n" for verdict in verdicts)
    storage.write_atomically(folder / ITEMS, "".join(lines))
    (folder / PARTIAL).unlink(missing_ok=True)


def read_items(path: Path) -> list[Verdict]:
    """All verdicts of a finished `items.jsonl`."""
    with path.open(encoding="utf-8", newline="\n") as file:
        return [Verdict(**json.loads(line)) for line in file]


def score(benchmark: Benchmark, verdicts: Sequence[Verdict], mode: str, label: str) -> dict[str, Any]:
    """One row of `results.json`: accuracy of one model on one benchmark, with Wilson's 95% interval."""
    n = len(verdicts)
    correct = sum(verdict.correct for verdict in verdicts)
    low, high = wilson_interval(correct, n)
    subjects = sorted({verdict.subject for verdict in verdicts})
    return {
        "benchmark": benchmark.name,
        "mode": mode,
        "model": label,
        "n": n,
        "accuracy": correct / n,
        "ci_low": low,
        "ci_high": high,
        "unparsed_rate": sum(verdict.prediction is None for verdict in verdicts) / n,
        "restricted_accuracy": sum(verdict.restricted_prediction == verdict.answer for verdict in verdicts) / n,
        "shortened": sum(verdict.shortened for verdict in verdicts),
        "too_long": sum(not verdict.fits for verdict in verdicts),
        "subjects": {subject: _subject(subject, verdicts) for subject in subjects if subject},
        "missing_subjects": sorted(set(benchmark.subjects) - set(subjects)),
    }


def compare(verdicts: Sequence[Verdict], baseline: Sequence[Verdict], label: str) -> dict[str, Any]:
    """How a model differs from a baseline on the questions both were asked, by McNemar's test."""
    other = {verdict.key: verdict for verdict in baseline}
    pairs = [(verdict.correct, other[verdict.key].correct) for verdict in verdicts if verdict.key in other]
    test = mcnemar([ours for ours, _ in pairs], [theirs for _, theirs in pairs])
    return {
        "model": label,
        "n": len(pairs),
        "only_this_right": test.only_first,
        "only_that_right": test.only_second,
        "p_value": test.p_value,
    }


def _subject(subject: str, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    right = [verdict.correct for verdict in verdicts if verdict.subject == subject]
    return {"n": len(right), "accuracy": sum(right) / len(right)}
