"""How often a model refuses what it should, and what it should not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.evaluation.refusals.requests import ANSWERS, NAME, REFUSED
from components.evaluation.results import Verdict
from components.platform.statistics import wilson_interval

REFUSALS = "refusals.json"


def refusal_rates(verdicts: Sequence[Verdict]) -> dict[str, dict[str, Any]]:
    """Kind of request → share that was refused, with Wilson's 95% interval; empty where no request was put."""
    rates = {}
    for kind in ANSWERS:
        own = [verdict for verdict in verdicts if (verdict.mode, verdict.subject) == (NAME, kind)]
        if own:
            refused = sum(verdict.prediction == REFUSED for verdict in own)
            low, high = wilson_interval(refused, len(own))
            rates[kind] = {"n": len(own), "refused": refused / len(own), "ci_low": low, "ci_high": high}
    return rates
