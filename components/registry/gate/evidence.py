"""Verdicts of two models on the same items, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from components.platform.manifest import Manifest
from components.platform.statistics import PairedComparison, mcnemar, paired_difference_interval

ITEMS = "items.jsonl"
REFUSALS = "refusals"
"""Mode of the refusal set; its verdicts are about requests, not about questions."""

WAYS = ("engine", "prompt_style", "max_new_tokens", "sc_samples", "temperature", "seed", "few_shot")
"""Settings of an evaluation that decide how an item is asked; a model must not win by being asked otherwise."""

Key = tuple[str, str, int | None, str]


@dataclass(frozen=True)
class Pair:
    """One item that both models were asked in the same words, and who was right.

    Attributes:
        stem: of the question; the same one may be in two benchmarks, and is asked in several modes.
    """

    stem: str
    subject: str
    challenger: bool
    champion: bool


@dataclass(frozen=True)
class Match:
    """A benchmark in one mode, on the items that both were asked.

    Attributes:
        pairs: the common items; of several sets of demonstrations those of the first, so each question once.
        others: items that only one was asked, or in other words, or with another answer held to be right.
    """

    benchmark: str
    mode: str
    pairs: tuple[Pair, ...]
    others: int

    @property
    def gain(self) -> float:
        """Accuracy of the challenger less that of the champion."""
        return sum(pair.challenger - pair.champion for pair in self.pairs) / len(self.pairs)

    @cached_property
    def test(self) -> PairedComparison:
        return mcnemar([pair.challenger for pair in self.pairs], [pair.champion for pair in self.pairs])

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the gain."""
        return paired_difference_interval(self.test.only_first, self.test.only_second, len(self.pairs))


def matches(challenger: Manifest, champion: Manifest) -> list[Match]:
    """Each benchmark and mode that either was asked, in the challenger's order.

    An item is the same if its id, its prompt and its right answer are.
    """
    ours, theirs = _verdicts(challenger), _verdicts(champion)
    found = []
    for benchmark, mode in dict.fromkeys(key[:2] for key in [*ours, *theirs]):
        keys = dict.fromkeys(key for key in [*ours, *theirs] if key[:2] == (benchmark, mode))
        common = [key for key in keys if _is_same(ours.get(key), theirs.get(key))]
        counted = [key for key in common if key[2] == common[0][2]]
        pairs = tuple(_pair(ours[key], theirs[key]) for key in counted)
        found.append(Match(benchmark, mode, pairs, others=len(keys) - len(common)))
    return found


def benchmarks(found: Sequence[Match]) -> list[Match]:
    """The matches that are about questions."""
    return [match for match in found if match.mode != REFUSALS]


def asked_otherwise(challenger: Manifest, champion: Manifest) -> list[str]:
    """Settings by which the two evaluations put their items differently."""
    ours, theirs = challenger.made_by["settings"], champion.made_by["settings"]
    return [name for name in WAYS if ours.get(name) != theirs.get(name)]


def _verdicts(evaluation: Manifest) -> dict[Key, dict[str, Any]]:
    rows = evaluation.read_jsonl(ITEMS)
    return {(row["benchmark"], row["mode"], row["demonstrations"], row["id"]): row for row in rows}


def _is_same(ours: dict[str, Any] | None, theirs: dict[str, Any] | None) -> bool:
    return bool(ours and theirs) and all(ours[field] == theirs[field] for field in ("prompt", "answer"))


def _pair(ours: dict[str, Any], theirs: dict[str, Any]) -> Pair:
    return Pair(ours["stem"], ours["subject"], ours["correct"], theirs["correct"])
