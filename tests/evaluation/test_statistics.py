"""Intervals and tests against SciPy's."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import binomtest

from components.evaluation.statistics import mcnemar, wilson_interval


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@example((0, 1))
@example((1, 1))
@example((0, 1273))
@example((1273, 1273))
def test_wilson(pair):
    correct, n = pair
    expected = binomtest(correct, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(correct, n) == pytest.approx((expected.low, expected.high), abs=1e-12)
    low, high = wilson_interval(correct, n)
    assert 0 <= low <= correct / n <= high <= 1


def test_nothing_is_known_of_no_questions():
    assert wilson_interval(0, 0) == (0.0, 1.0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=200))
def test_mcnemar(pairs):
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    result = mcnemar(first, second)
    only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
    assert (result.only_first, result.only_second) == (only_first, only_second)
    discordant = only_first + only_second
    expected = binomtest(only_first, discordant, 0.5).pvalue if discordant else 1.0
    assert result.p_value == pytest.approx(expected, abs=1e-12)
    assert mcnemar(second, first).p_value == result.p_value


def test_mcnemar_of_very_many_questions():
    result = mcnemar([True] * 3000 + [False] * 2000, [False] * 3000 + [True] * 2000)
    assert 0 < result.p_value < 1e-40


def test_unpaired_verdicts_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        mcnemar([True], [])
