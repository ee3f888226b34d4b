"""How sure a score is, and whether two models differ on the same questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
_ROUNDING = 1e-12  # sums of the same numbers in another order


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
        p_first_worse: one-sided, exact; the chance of so few that only the first got right if it were no worse.
    """

    only_first: int
    only_second: int
    p_value: float
    p_first_worse: float


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> PairedComparison:
    """McNemar's exact test (1947) on paired verdicts: `first[i]` and `second[i]` are about the same question."""
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    discordant = only_first + only_second
    return PairedComparison(
        only_first,
        only_second,
        p_value=min(1.0, 2 * _at_most(min(only_first, only_second), discordant)),
        p_first_worse=_at_most(only_first, discordant),
    )


def paired_difference_interval(only_first: int, only_second: int, n: int) -> tuple[float, float]:
    """95% interval of how much more accurate the first model is, on n common questions (Agresti and Min, 2005).

    Wald's interval after half a question is added to each of the four cells; it holds for few questions, too.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    difference = (only_first - only_second) / (n + 2)
    half = z * sqrt((only_first + only_second + 1) / (n + 2) - difference**2) / sqrt(n + 2)
    return max(-1.0, difference - half), min(1.0, difference + half)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for so many tests (Holm, 1979): all below α keeps the chance of any false alarm below α."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def sign_flip_p_value(differences: Sequence[float], samples: int, seed: int) -> float:
    """One-sided paired randomization test (Fisher, 1935; Noreen, 1989): is the sum of the differences above zero?

    If both models were equally good, each question's difference could as well have had the other sign. The p-value
    counts what was observed as one of the samples, so it is never zero (Phipson and Smyth, 2010).

    Args:
        differences: per question, what the first model scored more than the second, weighted as in the sum.
        samples: how many times all signs are drawn.
    """
    values = np.array([difference for difference in differences if difference])
    generator = np.random.default_rng(seed)
    observed, reached = values.sum(), 0
    for _ in range(samples):
        signs = generator.integers(0, 2, size=len(values)) * 2 - 1
        reached += bool((signs * values).sum() >= observed - _ROUNDING)
    return (1 + reached) / (1 + samples)


def _at_most(k: int, n: int) -> float:
    """The chance of at most k heads in n tosses of a fair coin."""
    # Integers of any size divide exactly, where 2.0 ** n would overflow.
    return sum(comb(n, heads) for heads in range(k + 1)) / 2**n
