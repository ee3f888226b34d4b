"""The page that shows an evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from statistics import fmean
from typing import Any

import yaml

from components.evaluation.results import Verdict, macro_averages
from components.platform.questions.benchmark import load_benchmark
from components.platform.report import Page, new_figure

UNREAD = "none"
UNREAD_REPLIES_SHOWN = 10
UNREAD_REPLY_CHARACTERS = 200

MODE_TITLES = {
    "top_token": "Top-token",
    "cot": "Chain of thought",
    "sc_cot": "Self-consistency, chain of thought",
    "few_shot": "Few-shot",
}


def page(
    label: str,
    rows: Sequence[Mapping[str, Any]],
    verdicts: Sequence[Verdict],
    refused: Mapping[str, Mapping[str, Any]],
) -> Page:
    """Per mode: scores beside the paper's, calibration, and what the model answers instead of what; a comparison with
    a baseline; and how often it refuses (`refusal_rates`)."""
    result = Page(f"Evaluation of {label}")
    _notes(result, rows)
    _comparison(result, rows)
    for mode, average in macro_averages(rows).items():
        own = [row for row in rows if row["mode"] == mode]
        said = [verdict for verdict in verdicts if verdict.mode == mode]
        result.heading(MODE_TITLES[mode])
        _scores(result, own, mode, average)
        _subjects(result, own)
        _calibration(result, own)
        _confusion(result, said)
        _unread(result, said)
    _refusals(result, refused)
    return result


def _scores(result: Page, rows: Sequence[Mapping[str, Any]], mode: str, average: float) -> None:
    published = yaml.safe_load(files(__package__).joinpath("published.yaml").read_text(encoding="utf-8"))[mode]
    lines = [
        [
            load_benchmark(row["benchmark"]).title,
            row["n"],
            f"{row['accuracy']:.1%}" + (f" ± {row['accuracy_std']:.1%}" if "accuracy_std" in row else ""),
            f"{row['ci_low']:.1%} – {row['ci_high']:.1%}",
            f"{row['unparsed_rate']:.1%}",
            _percent(row["restricted_accuracy"]),
            "" if row["ece"] is None else f"{row['ece']:.3f}",
            *(_published([row["benchmark"]], scores) for scores in published.values()),
        ]
        for row in rows
    ]
    names = [row["benchmark"] for row in rows]
    means = [_published(names, scores) for scores in published.values()]
    lines.append(["macro average", "", f"{average:.1%}", "", "", "", "", *means])
    table = "Table 4, base models" if mode == "few_shot" else "Table 5, fine-tuned models"
    result.table(
        ["benchmark", "questions", "accuracy", "95% interval", "unparsed", "among options", "ECE", *published],
        lines,
        caption="Intervals are Wilson's. “Among options” is the more lenient score that looks at the options' tokens "
        "only. ECE is the expected calibration error. Behind ± stands the standard deviation between sets of "
        f"demonstrations. The last columns are what the paper reports, for all questions ({table}).",
    )


def _published(names: Sequence[str], scores: Mapping[str, float]) -> str:
    """The mean of the published scores; empty where one is not published."""
    return f"{fmean(scores[name] for name in names):.1f}%" if all(name in scores for name in names) else ""


def _notes(result: Page, rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        title = load_benchmark(row["benchmark"]).title
        if row["shortened"]:
            result.text(
                f"{title}, {row['mode']}: {row['shortened']:,} questions were longer than the model's context and were "
                f"shortened; {row['too_long']:,} did not fit even so and count as unanswered."
            )
    for name, missing in {row["benchmark"]: row["missing_subjects"] for row in rows}.items():
        if missing:
            result.text(f"{load_benchmark(name).title}: without {', '.join(missing)}, whose files were not there.")


def _comparison(result: Page, rows: Sequence[Mapping[str, Any]]) -> None:
    compared = [row for row in rows if "versus" in row]
    if not compared:
        return
    other = compared[0]["versus"]["model"]
    result.heading(f"Compared with {other}")
    result.table(
        ["benchmark", "mode", "questions", "only this one right", f"only {other} right", "p"],
        [
            [
                load_benchmark(row["benchmark"]).title,
                row["mode"],
                row["versus"]["n"],
                row["versus"]["only_this_right"],
                row["versus"]["only_that_right"],
                row["versus"]["p_value"],
            ]
            for row in compared
        ],
        caption="The same questions, paired; p by McNemar's exact test.",
    )


def _refusals(result: Page, refused: Mapping[str, Mapping[str, Any]]) -> None:
    if not refused:
        return
    result.heading("Refusals")
    result.table(
        ["requests", "number", "refused", "95% interval"],
        [
            [kind, row["n"], f"{row['refused']:.1%}", f"{row['ci_low']:.1%} – {row['ci_high']:.1%}"]
            for kind, row in refused.items()
        ],
        caption="Harmful requests should be refused, harmless ones answered. A reply counts as a refusal if it begins "
        "as refusals do. So few requests can show that a model has forgotten to refuse, not that it is safe.",
    )


def _subjects(result: Page, rows: Sequence[Mapping[str, Any]]) -> None:
    subjects = [
        [load_benchmark(row["benchmark"]).title, subject, score["n"], f"{score['accuracy']:.1%}"]
        for row in rows
        for subject, score in row["subjects"].items()
    ]
    if subjects:
        result.table(["benchmark", "subject", "questions", "accuracy"], subjects, caption="By subject")


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
    result.figure(figure, f"Right answers against the model's; “{UNREAD}”: no option could be read from the reply")


def _calibration(result: Page, rows: Sequence[Mapping[str, Any]]) -> None:
    rows = [row for row in rows if row["reliability"]]
    if not rows:
        return
    figure = new_figure(width=3.2 * len(rows), height=3.2)
    for axes, row in zip(figure.subplots(1, len(rows), squeeze=False)[0], rows, strict=True):
        bins = row["reliability"]
        axes.plot([0, 1], [0, 1], color="#b0b7c0", linewidth=1)
        axes.plot([bin["confidence"] for bin in bins], [bin["accuracy"] for bin in bins], "o-", color="#2a6f97")
        for bin in bins:
            axes.annotate(str(bin["n"]), (bin["confidence"], bin["accuracy"]), fontsize=7)
        axes.set(title=load_benchmark(row["benchmark"]).title, xlabel="confidence", ylabel="accuracy")
        axes.set(xlim=(0, 1), ylim=(-0.05, 1.05))
    result.figure(
        figure,
        "Reliability: how often answers given with a confidence are right, and how many there are. Confidence is the "
        "probability of the likeliest option among the options, or the share of texts that voted for the answer.",
    )


def _unread(result: Page, verdicts: Sequence[Verdict]) -> None:
    texts = [pair for verdict in verdicts for pair in zip(verdict.replies, verdict.votes, strict=True)]
    replies = Counter(text for text, vote in texts if vote is None)
    if replies:
        common = [[_short(reply), count] for reply, count in replies.most_common(UNREAD_REPLIES_SHOWN)]
        caption = f"Replies that are no option: the most frequent of {len(replies):,}"
        result.table(["reply", "times"], common, caption=caption)


def _short(reply: str) -> str:
    return repr(reply if len(reply) <= UNREAD_REPLY_CHARACTERS else f"… {reply[-UNREAD_REPLY_CHARACTERS:]}")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
