"""Verdicts of two models on the same items, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components.platform.manifest import Manifest
from components.platform.statistics import PairedComparison, mcnemar, paired_difference_interval

ITEMS, RESULTS = "items.jsonl", "results.json"
REFUSALS = "refusals"
"""Mode of the refusal set; its verdicts are about requests, not about questions."""


@dataclass(frozen=True)
class Pair:
    """One item that both models were asked in the same words, and who was right."""

    id: str
    subject: str
    challenger: bool
    champion: bool


@dataclass(frozen=True)
class Match:
    """A benchmark in one mode, on the items that both were asked.

    Attributes:
        pairs: the common items.
        others: items that only one was asked, or in other words.
    """

    benchmark: str
    mode: str
    pairs: tuple[Pair, ...]
    others: int

    @property
    def gain(self) -> float:
        """Accuracy of the challenger less that of the champion."""
        return sum(pair.challenger - pair.champion for pair in self.pairs) / len(self.pairs)

    def test(self) -> PairedComparison:
        return mcnemar([pair.challenger for pair in self.pairs], [pair.champion for pair in self.pairs])

    def interval(self) -> tuple[float, float]:
        """95% interval of the gain."""
        test = self.test()
        return paired_difference_interval(test.only_first, test.only_second, len(self.pairs))


def matches(challenger: Manifest, champion: Manifest) -> list[Match]:
    """Each benchmark and mode of the challenger's evaluation, held against the champion's, in the challenger's order.

    An item is the same if id and prompt are; of several sets of demonstrations each counts.
    """
    ours, theirs = _verdicts(challenger), _verdicts(champion)
    groups = dict.fromkeys((benchmark, mode) for benchmark, mode, *_ in [*ours, *theirs])
    found = []
    for group in groups:
        keys = dict.fromkeys(key for key in [*ours, *theirs] if key[:2] == group)
        common = [key for key in keys if key in ours and key in theirs and ours[key]["prompt"] == theirs[key]["prompt"]]
        pairs = tuple(
            Pair(key[3], ours[key]["subject"], ours[key]["correct"], theirs[key]["correct"]) for key in common
        )
        found.append(Match(*group, pairs, others=len(keys) - len(common)))
    return found


def benchmarks(found: Sequence[Match]) -> list[Match]:
    """The matches that are about questions."""
    return [match for match in found if match.mode != REFUSALS]


def _verdicts(evaluation: Manifest) -> dict[tuple[str, str, int | None, str], dict]:
    rows = evaluation.read_jsonl(ITEMS)
    return {(row["benchmark"], row["mode"], row["demonstrations"], row["id"]): row for row in rows}
