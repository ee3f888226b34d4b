"""Whether a model knows how sure it may be."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass


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
