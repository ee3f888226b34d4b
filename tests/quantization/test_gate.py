"""Which figures pass the quality gate."""

from __future__ import annotations

import pytest

from components.quantization.gate import QualityError, check, judge
from components.quantization.settings import Gate

GATE = Gate(max_kl_per_token=0.1, min_top1_agreement=0.9, max_perplexity_increase=0.05)
GOOD = {"kl_per_token": 0.1, "top1_agreement": 0.9, "perplexity_before": 4.0, "perplexity_after": 4.2}


def test_figures_at_their_limits_pass() -> None:
    assert [verdict.passed for verdict in judge(GATE, GOOD | {"perplexity_after": 4.1999})] == [True] * 3
    check(GATE, GOOD | {"perplexity_after": 3.9}, "report.html")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kl_per_token": 0.11}, "gate.max_kl_per_token is 0.1, measured 0.11 "),
        ({"kl_per_token": float("nan")}, "gate.max_kl_per_token is 0.1, measured nan "),
        ({"top1_agreement": 0.89}, "gate.min_top1_agreement is 0.9, measured 0.89 "),
        ({"perplexity_after": 4.3}, "gate.max_perplexity_increase is 0.05, measured 0.075 "),
        ({"kl_per_token": 1, "top1_agreement": 0}, "max_kl_per_token is 0.1, measured 1; min_top1_agreement is 0.9"),
    ],
)
def test_each_figure_beyond_its_limit_is_named(changes: dict[str, float], message: str) -> None:
    with pytest.raises(QualityError, match=message) as caught:
        check(GATE, GOOD | {"perplexity_after": 4.0} | changes, "folder/report.html")
    assert "folder/report.html" in str(caught.value)
