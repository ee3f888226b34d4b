"""Intervals and tests against SciPy's."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import binomtest

from components.evaluation.statistics import expected_calibration_error, mcnemar, reliability, wilson_interval


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


def test_reliability_by_hand():
    diagram = reliability([0.25, 0.3, 0.31, 1.0, 1.0], [True, False, True, True, False], bins=10)
    found = [(bin.low, bin.high, bin.n, bin.accuracy) for bin in diagram]
    assert found == [(0.2, 0.3, 2, 0.5), (0.3, 0.4, 1, 1.0), (0.9, 1.0, 2, 0.5)]
    assert [bin.confidence for bin in diagram] == pytest.approx([0.275, 0.31, 1.0])
    assert expected_calibration_error(diagram) == pytest.approx((2 * 0.225 + 0.69 + 2 * 0.5) / 5)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=100))
@example([(index / 10, True) for index in range(11)])
def test_calibration_against_numpy(pairs):
    confidences, correct = np.array([p for p, _ in pairs]), np.array([right for _, right in pairs])
    diagram = reliability(confidences.tolist(), correct.tolist())
    assert sum(bin.n for bin in diagram) == len(pairs)
    edges = [index / 10 for index in range(11)]
    expected = 0.0
    for low, high in pairwise(edges):
        inside = (confidences > low) & (confidences <= high) | (low == 0) & (confidences == 0)
        if inside.any():
            expected += inside.mean() * abs(confidences[inside].mean() - correct[inside].mean())
    assert expected_calibration_error(diagram) == pytest.approx(expected, abs=1e-12)
