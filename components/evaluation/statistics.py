"""How sure a score is, and whether two models differ."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist

CONFIDENCE = 0.95


def wilson_interval(correct: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of an accuracy, 95% (Wilson, 1927).

    Unlike the usual p ± 1.96 · √(p(1−p)/n) it stays inside [0, 1] and holds for few questions and extreme
    scores. `correct` may be a mean over several runs on the same questions.
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


@dataclass(frozen=True)
class ReliabilityBin:
    """Answers given with a confidence in (low, high].

    Attributes:
        n: how many.
        confidence: their mean confidence.
        accuracy: the share of them that is right.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def reliability(confidences: Sequence[float], correct: Sequence[bool], bins: int = 10) -> list[ReliabilityBin]:
    """The reliability diagram: answers by confidence in bins of equal width; empty bins are left out."""
    edges = [index / bins for index in range(bins + 1)]
    members: dict[int, list[tuple[float, bool]]] = {}
    for confidence, is_right in zip(confidences, correct, strict=True):
        members.setdefault(max(0, bisect_left(edges, confidence) - 1), []).append((confidence, is_right))
    return [
        ReliabilityBin(
            low=edges[index],
            high=edges[index + 1],
            n=len(found),
            confidence=sum(confidence for confidence, _ in found) / len(found),
            accuracy=sum(is_right for _, is_right in found) / len(found),
        )
        for index, found in sorted(members.items())
    ]


def expected_calibration_error(diagram: Sequence[ReliabilityBin]) -> float:
    """How far confidence and accuracy are apart, averaged over all answers (Guo et al., 2017)."""
    return sum(bin.n * abs(bin.accuracy - bin.confidence) for bin in diagram) / sum(bin.n for bin in diagram)
