"""The decision as a page: the verdict, why, and by how much the challenger is better or worse at what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from components.platform.report import Page, new_figure
from components.registry.gate.evidence import Match
from components.registry.gate.rules import Rule
from components.registry.gate.settings import Contest

SIGNS = {True: "holds", False: "does not hold", None: "nothing to compare with"}


def page(
    contest: Contest, promoted: bool, verdicts: Sequence[Rule], found: Sequence[Match], digests: Mapping[str, str]
) -> Page:
    name = f"{contest.model} version {contest.challenger}"
    result = Page(f"{name}: {'promoted to champion' if promoted else 'stays challenger'}")
    result.text(
        f"Compared with version {contest.champion}, the champion so far."
        if contest.champion is not None
        else "There was no champion to compare with."
    )
    result.table(["rule", "", "what was found"], [[rule.name, SIGNS[rule.passed], rule.says] for rule in verdicts])
    if compared := [match for match in found if match.pairs]:
        result.heading("Challenger and champion on the same items")
        _forest(result, compared)
        _table(result, compared)
    result.heading("Decided from")
    result.table(["artifact", "SHA-256"], list(digests.items()))
    return result


def _forest(result: Page, found: Sequence[Match]) -> None:
    figure = new_figure(height=1 + 0.35 * len(found))
    axes = figure.subplots()
    for line, match in enumerate(found):
        axes.plot([100 * end for end in match.interval], [line, line], color="#2a6f97", linewidth=2)
        axes.plot([100 * match.gain], [line], "o", color="#2a6f97")
    mean = sum(match.gain for match in found) / len(found)
    axes.plot([100 * mean], [len(found)], "D", color="#c8553d")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(found) + 1), [*(f"{match.benchmark}, {match.mode}" for match in found), "mean"])
    axes.invert_yaxis()
    axes.set_xlabel("accuracy gained, percentage points (right: the challenger is better)")
    caption = "Difference on the common items; each with its own 95% interval (Agresti and Min, 2005), not corrected"
    result.figure(figure, caption)


def _table(result: Page, found: Sequence[Match]) -> None:
    rows = []
    for match in found:
        test, (low, high) = match.test, match.interval
        rows.append(
            [
                match.benchmark,
                match.mode,
                len(match.pairs),
                match.others,
                f"{match.gain:+.1%}",
                f"{low:+.1%} – {high:+.1%}",
                test.only_first,
                test.only_second,
                test.p_value,
            ]
        )
    headers = ["benchmark", "mode", "items", "not compared", "gain", "95% interval"]
    headers += ["only challenger right", "only champion right", "p"]
    result.table(headers, rows, "p by McNemar's exact test, two-sided, not corrected for the number of comparisons")
