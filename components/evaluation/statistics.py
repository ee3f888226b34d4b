"""How sure a score is, and whether two models differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist

CONFIDENCE = 0.95


def wilson_interval(correct: int, n: int) -> tuple[float, float]:
    """Wilson's score interval of an accuracy, 95% (Wilson, 1927).

    Unlike the usual p ± 1.96 · √(p(1−p)/n) it stays inside [0, 1] and holds for few questions and extreme
    scores.
    """
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    p = correct / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At the ends the bound is exactly the score; rounding must not put it beyond.
    return (0.0 if correct == 0 else centre - half), (1.0 if correct == n else centre + half)


@dataclass(frozen=True)
class PairedComparison:
    """Two models on the same questions.

    Attributes:
        only_first, only_second: questions that only one of them got right.
        p_value: two-sided, exact; the chance of so uneven a split if both were equally good.
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> PairedComparison:
    """McNemar's exact test (1947) on paired verdicts: `first[i]` and `second[i]` are about the same question."""
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    discordant = only_first + only_second
    tail = sum(comb(discordant, k) for k in range(min(only_first, only_second) + 1))
    # Integers of any size divide exactly, where 2.0 ** discordant would overflow.
    p_value = min(1.0, 2 * tail / 2**discordant)
    return PairedComparison(only_first, only_second, p_value)
