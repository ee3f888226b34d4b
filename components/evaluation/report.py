"""The page that shows an evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import yaml

from components.evaluation.results import Verdict
from components.platform.questions.benchmark import load_benchmark
from components.platform.report import Page, new_figure

UNREAD = "none"
UNREAD_REPLIES_SHOWN = 10


def page(label: str, rows: Sequence[Mapping[str, Any]], verdicts: Sequence[Verdict]) -> Page:
    """Scores beside the paper's, the comparison with a baseline, and what the model answers instead of what."""
    result = Page(f"Evaluation of {label}")
    _scores(result, rows)
    _comparison(result, rows)
    _subjects(result, rows)
    _confusion(result, verdicts)
    _unread(result, verdicts)
    return result


def _scores(result: Page, rows: Sequence[Mapping[str, Any]]) -> None:
    mode = rows[0]["mode"]
    published = yaml.safe_load(files(__package__).joinpath("published.yaml").read_text(encoding="utf-8"))[mode]
    result.table(
        ["benchmark", "questions", "accuracy", "95% interval", "unparsed", "among options", *published],
        [
            [
                load_benchmark(row["benchmark"]).title,
                row["n"],
                f"{row['accuracy']:.1%}",
                f"{row['ci_low']:.1%} – {row['ci_high']:.1%}",
                f"{row['unparsed_rate']:.1%}",
                f"{row['restricted_accuracy']:.1%}",
                *(_percent(scores.get(row["benchmark"])) for scores in published.values()),
            ]
            for row in rows
        ],
        caption=f"Mode {mode}. Intervals are Wilson's. “Among options” is the more lenient score that looks at the "
        "options' tokens only. The last columns are what the paper reports, for all questions (Table 5).",
    )
    for row in rows:
        title = load_benchmark(row["benchmark"]).title
        if row["shortened"]:
            result.text(
                f"{title}: {row['shortened']:,} questions were longer than the model's context and were shortened; "
                f"{row['too_long']:,} did not fit even so and count as unanswered."
            )
        if row["missing_subjects"]:
            result.text(f"{title}: without {', '.join(row['missing_subjects'])}, whose files were not there.")


def _comparison(result: Page, rows: Sequence[Mapping[str, Any]]) -> None:
    compared = [row for row in rows if "versus" in row]
    if not compared:
        return
    other = compared[0]["versus"]["model"]
    result.heading(f"Compared with {other}")
    result.table(
        ["benchmark", "questions", "only this one right", f"only {other} right", "p"],
        [
            [
                load_benchmark(row["benchmark"]).title,
                row["versus"]["n"],
                row["versus"]["only_this_right"],
                row["versus"]["only_that_right"],
                row["versus"]["p_value"],
            ]
            for row in compared
        ],
        caption="The same questions, paired; p by McNemar's exact test.",
    )


def _subjects(result: Page, rows: Sequence[Mapping[str, Any]]) -> None:
    subjects = [
        [load_benchmark(row["benchmark"]).title, subject, score["n"], f"{score['accuracy']:.1%}"]
        for row in rows
        for subject, score in row["subjects"].items()
    ]
    if subjects:
        result.heading("By subject")
        result.table(["benchmark", "subject", "questions", "accuracy"], subjects)


def _confusion(result: Page, verdicts: Sequence[Verdict]) -> None:
    names = list(dict.fromkeys(verdict.benchmark for verdict in verdicts))
    figure = new_figure(width=3.2 * len(names), height=3.2)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        benchmark = load_benchmark(name)
        columns = [*benchmark.labels, UNREAD]
        counts = Counter((v.answer, v.prediction or UNREAD) for v in verdicts if v.benchmark == name)
        table = [[counts[answer, said] for said in columns] for answer in benchmark.labels]
        axes.imshow(table, cmap="Blues", aspect="auto")
        darkest = max(map(max, table))
        for y, line in enumerate(table):
            for x, count in enumerate(line):
                color = "white" if count > darkest / 2 else "black"
                axes.text(x, y, str(count), ha="center", va="center", color=color)
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(benchmark.labels)), benchmark.labels)
        axes.set(title=benchmark.title, xlabel="model's answer", ylabel="right answer")
    result.heading("What was answered")
    result.figure(figure, f"Right answers against the model's; “{UNREAD}”: no option could be read from the reply")


def _unread(result: Page, verdicts: Sequence[Verdict]) -> None:
    replies = Counter(verdict.reply for verdict in verdicts if verdict.prediction is None and verdict.fits)
    if replies:
        result.heading("Replies that are no option")
        common = [[repr(reply), count] for reply, count in replies.most_common(UNREAD_REPLIES_SHOWN)]
        result.table(["reply", "times"], common, caption=f"The most frequent of {len(replies):,}")


def _percent(score: float | None) -> str:
    return "" if score is None else f"{score:.1f}%"
