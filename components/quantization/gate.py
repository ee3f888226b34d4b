"""The quality gate: a quantized model that strays too far from the original is not handed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from components.platform.errors import UserError
from components.quantization.settings import Gate


class QualityError(UserError):
    """The quantized model is less faithful than the recipe allows."""


@dataclass(frozen=True)
class Verdict:
    """One figure against its limit, which is named as in the recipe."""

    limit_name: str
    limit: float
    figure: float
    passed: bool


def judge(gate: Gate, quality: Mapping[str, float]) -> list[Verdict]:
    """All figures of `quality.json` that have a limit; one that is no number passes none."""
    divergence, agreement = quality["kl_per_token"], quality["top1_agreement"]
    increase = quality["perplexity_after"] / quality["perplexity_before"] - 1
    most, least, most_increase = gate.max_kl_per_token, gate.min_top1_agreement, gate.max_perplexity_increase
    return [
        Verdict("max_kl_per_token", most, divergence, divergence <= most),
        Verdict("min_top1_agreement", least, agreement, agreement >= least),
        Verdict("max_perplexity_increase", most_increase, increase, increase <= most_increase),
    ]


def check(gate: Gate, quality: Mapping[str, float], place: str) -> None:
    """Let a faithful model pass.

    Args:
        place: where the report lies.

    Raises:
        QualityError: a figure is beyond its limit; the message names each.
    """
    failed = [verdict for verdict in judge(gate, quality) if not verdict.passed]
    if failed:
        figures = "; ".join(f"{v.limit_name} is {v.limit:g}, measured {v.figure:.4g}" for v in failed)
        raise QualityError(
            f"the quantized model is not faithful enough: quantization.gate.{figures} (report: {place}). "
            "Calibrate on more documents or take smaller groups; or change the limit, and the same model passes "
            "without being quantized again"
        )
