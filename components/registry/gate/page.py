"""The decision as a page: the verdict, why, and by how much the challenger is better or worse at what."""

from __future__ import annotations

from collections.abc import Sequence

from components.platform.report import Page, new_figure
from components.registry.gate.evidence import Match
from components.registry.gate.rules import Rule
from components.registry.gate.settings import Contest

SIGNS = {True: "holds", False: "does not hold", None: "nothing to compare with"}
BETTER, WORSE, OPEN = "#2a6f97", "#c8553d", "#8a94a0"


def page(contest: Contest, promoted: bool, verdicts: Sequence[Rule], found: Sequence[Match]) -> Page:
    result = Page("Promoted to champion" if promoted else "Stays challenger")
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
    return result


def _forest(result: Page, found: Sequence[Match]) -> None:
    figure = new_figure(height=0.8 + 0.35 * len(found))
    axes = figure.subplots()
    for line, match in enumerate(found):
        low, high = match.interval()
        color = BETTER if low > 0 else WORSE if high < 0 else OPEN
        axes.plot([100 * low, 100 * high], [line, line], color=color, linewidth=2)
        axes.plot([100 * match.gain], [line], "o", color=color)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(found)), [f"{match.benchmark}, {match.mode}" for match in found])
    axes.invert_yaxis()
    axes.set_xlabel("accuracy gained, percentage points (right: the challenger is better)")
    result.figure(figure, "Difference on the common items with its 95% interval (Agresti and Min, 2005)")


def _table(result: Page, found: Sequence[Match]) -> None:
    rows = []
    for match in found:
        test, (low, high) = match.test(), match.interval()
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
