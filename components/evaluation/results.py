"""Verdicts per item and scores per benchmark, as files that anyone can read and an interrupted run continues from."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import exp
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from components.evaluation.calibration import expected_calibration_error, reliability
from components.evaluation.items import Item
from components.evaluation.modes.reply import Reply
from components.evaluation.rounds import Round
from components.platform import storage
from components.platform.questions.benchmark import Benchmark
from components.platform.statistics import mcnemar, wilson_interval

ITEMS, RESULTS = "items.jsonl", "results.json"
PARTIAL = f".{ITEMS}.partial"  # hidden: no part of the finished artifact

Key = tuple[str, str, int | None, str]


@dataclass(frozen=True)
class Verdict:
    """One line of `items.jsonl`: what a model was asked, what it replied, and whether that was right.

    `demonstrations` is the seed that chose them, None where there are none. `replies` are all texts that were drawn,
    and `votes` the label that each chooses, or None. `fits` is false for a question that is too long for the model
    even when shortened; it counts as unanswered. `stem` is the question's: the same one may be in two benchmarks.
    """

    mode: str
    benchmark: str
    demonstrations: int | None
    id: str
    subject: str
    prompt: str
    shortened: bool
    fits: bool
    replies: list[str]
    votes: list[str | None]
    prediction: str | None
    answer: str
    correct: bool
    restricted_prediction: str | None
    choice_logprobs: dict[str, float]
    stem: str

    @property
    def key(self) -> Key:
        return self.mode, self.benchmark, self.demonstrations, self.id

    @property
    def confidence(self) -> tuple[float, bool] | None:
        """How sure the model is, and whether it is right; None where it doesn't say.

        Where options were scored: the probability of the likeliest among the options. Where several texts voted: the
        share of all of them that chose the answer.
        """
        if self.choice_logprobs:
            odds = {label: exp(logprob) for label, logprob in self.choice_logprobs.items()}
            return max(odds.values()) / sum(odds.values()), self.restricted_prediction == self.answer
        if len(self.votes) > 1 and self.prediction is not None:
            return self.votes.count(self.prediction) / len(self.votes), self.correct
        return None


def key(round_: Round, item: Item) -> Key:
    """What an item of a round is known by."""
    return round_.mode, round_.benchmark, round_.demonstrations, item.question.id


def judge(round_: Round, item: Item, reply: Reply) -> Verdict:
    """A reply that can't be read is wrong."""
    question = item.question
    return Verdict(
        mode=round_.mode,
        benchmark=question.benchmark,
        demonstrations=round_.demonstrations,
        id=question.id,
        subject=question.subject,
        prompt=item.prompt,
        shortened=item.shortened,
        fits=bool(item.tokens),
        replies=list(reply.texts),
        votes=list(reply.votes),
        prediction=reply.prediction,
        answer=question.answer,
        correct=reply.prediction == question.answer,
        restricted_prediction=reply.restricted_prediction,
        choice_logprobs=reply.choice_logprobs,
        stem=question.stem,
    )


def append(folder: Path, verdicts: Iterable[Verdict]) -> None:
    """Keep verdicts of a run that goes on; each line begins with a checksum."""
    lines = (json.dumps(asdict(verdict)) for verdict in verdicts)
    with (folder / PARTIAL).open("a", encoding="utf-8") as file:
        file.write("".join(f"{_checksum(line)} {line}\n" for line in lines))


def read_partial(folder: Path) -> dict[Key, Verdict]:
    """The verdicts that an earlier, interrupted run left.

    Its last line may be torn and is then left out; so are damaged ones, which is told.
    """
    path = folder / PARTIAL
    if not path.exists():
        return {}
    *lines, torn = path.read_text(encoding="utf-8", errors="replace").split("\n")
    whole = [line for line in lines if line.startswith(f"{_checksum(line.partition(' ')[2])} ")]
    if damaged := len(lines) - len(whole):
        print(f"{path}: {damaged} of {len(lines)} lines damaged; what was there is asked again", flush=True)
    if torn or damaged:
        storage.write_atomically(path, "".join(f"{line}\n" for line in whole))
    verdicts = (Verdict(**json.loads(line.partition(" ")[2])) for line in whole)
    return {verdict.key: verdict for verdict in verdicts}


def _checksum(line: str) -> str:
    return f"{zlib.crc32(line.encode()):08x}"


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
    """One row of `results.json`: accuracy of one model on one benchmark in one mode, with Wilson's 95% interval.

    Where several sets of demonstrations were used, accuracies are means over them, and `accuracy_std` is their
    standard deviation (of a sample, n - 1). The interval is that of the mean on so many questions, for the same
    questions asked again are no further evidence.
    """
    by_set = _by_demonstrations(verdicts)
    n = len({verdict.id for verdict in verdicts})
    accuracies = {seed: _share(verdict.correct for verdict in own) for seed, own in by_set.items()}
    low, high = wilson_interval(fmean(sum(v.correct for v in own) for own in by_set.values()), n)
    subjects = sorted({verdict.subject for verdict in verdicts})
    scored = any(verdict.choice_logprobs for verdict in verdicts)
    row = {
        "benchmark": benchmark.name,
        "mode": mode,
        "model": label,
        "n": n,
        "accuracy": fmean(accuracies.values()),
        "ci_low": low,
        "ci_high": high,
        "unparsed_rate": _share(verdict.prediction is None for verdict in verdicts),
        "restricted_accuracy": _share(v.restricted_prediction == v.answer for v in verdicts) if scored else None,
        "shortened": len({verdict.id for verdict in verdicts if verdict.shortened}),
        "too_long": len({verdict.id for verdict in verdicts if not verdict.fits}),
        "subjects": {subject: _subject(subject, verdicts) for subject in subjects if subject},
        "missing_subjects": sorted(set(benchmark.subjects) - set(subjects)),
        **_calibration(verdicts),
    }
    if None not in by_set:
        row["accuracy_by_seed"] = {str(seed): accuracy for seed, accuracy in accuracies.items()}
        row["accuracy_std"] = stdev(accuracies.values()) if len(accuracies) > 1 else 0.0
    return row


def compare(verdicts: Sequence[Verdict], baseline: Sequence[Verdict], label: str) -> dict[str, Any]:
    """How a model differs from a baseline on the questions both were asked in the same way, by McNemar's test.

    Of several sets of demonstrations, the first one counts: the test wants each question once.
    """
    first = next(iter(_by_demonstrations(verdicts).values()))
    other = {verdict.key: verdict for verdict in baseline}
    pairs = [(verdict.correct, other[verdict.key].correct) for verdict in first if verdict.key in other]
    test = mcnemar([ours for ours, _ in pairs], [theirs for _, theirs in pairs])
    return {
        "model": label,
        "n": len(pairs),
        "only_this_right": test.only_first,
        "only_that_right": test.only_second,
        "p_value": test.p_value,
    }


def macro_averages(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mode → mean accuracy over the benchmarks, each counting the same however many questions it has."""
    modes = dict.fromkeys(row["mode"] for row in rows)
    return {mode: fmean(row["accuracy"] for row in rows if row["mode"] == mode) for mode in modes}


def numbers(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The scores as flat names and numbers, as metadata and MLflow take them."""
    measures = ("accuracy", "accuracy_std", "unparsed_rate", "ece")
    found = {
        f"{row['benchmark']}/{row['mode']}/{measure}": row[measure]
        for row in rows
        for measure in measures
        if row.get(measure) is not None
    }
    return found | {f"macro_average/{mode}/accuracy": mean for mode, mean in macro_averages(rows).items()}


def _by_demonstrations(verdicts: Sequence[Verdict]) -> dict[int | None, list[Verdict]]:
    found: dict[int | None, list[Verdict]] = {}
    for verdict in verdicts:
        found.setdefault(verdict.demonstrations, []).append(verdict)
    return found


def _calibration(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    pairs = [pair for verdict in verdicts if (pair := verdict.confidence)]
    if not pairs:
        return {"ece": None, "reliability": []}
    diagram = reliability([confidence for confidence, _ in pairs], [is_right for _, is_right in pairs])
    return {"ece": expected_calibration_error(diagram), "reliability": [asdict(bin) for bin in diagram]}


def _subject(subject: str, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    own = [verdict for verdict in verdicts if verdict.subject == subject]
    return {"n": len({verdict.id for verdict in own}), "accuracy": _share(verdict.correct for verdict in own)}


def _share(flags: Iterable[bool]) -> float:
    return fmean(map(float, flags))
