"""Intervals and tests against SciPy's."""

from itertools import product
from math import sqrt

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import binomtest

from components.platform.statistics import (
    holm,
    mcnemar,
    paired_difference_interval,
    sign_flip_p_value,
    wilson_interval,
)


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
    worse = binomtest(only_first, discordant, 0.5, alternative="less").pvalue if discordant else 1.0
    assert result.p_first_worse == pytest.approx(worse, abs=1e-12)


def test_mcnemar_of_very_many_questions():
    result = mcnemar([True] * 3000 + [False] * 2000, [False] * 3000 + [True] * 2000)
    assert 0 < result.p_value < 1e-40


def test_unpaired_verdicts_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        mcnemar([True], [])


def test_difference_against_the_formula_of_the_paper():
    """Agresti and Min, 2005: (c* - b*) / n* ± z √((b* + c*) - (c* - b*)² / n*) / n*, cells and n with what is added."""
    b, c, n = 16.5, 9.5, 302
    half = 1.959964 * sqrt((b + c) - (c - b) ** 2 / n) / n
    expected = (c - b) / n - half, (c - b) / n + half
    assert paired_difference_interval(9, 16, 300) == pytest.approx(expected, abs=1e-6)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_difference_lies_in_its_interval(only_first, only_second, both):
    n = only_first + only_second + both
    low, high = paired_difference_interval(only_first, only_second, n)
    assert -1 <= low < high <= 1
    assert low <= (only_first - only_second) / (n + 2) <= high
    mirrored = paired_difference_interval(only_second, only_first, n)
    assert mirrored == pytest.approx((-high, -low))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_sign_flips_against_all_of_them():
    differences = [0.3, -0.1, 0.2, 0.25, 0.0, -0.05, 0.15]
    values = [value for value in differences if value]
    sums = [sum(map(float.__mul__, signs, values)) for signs in product((-1.0, 1.0), repeat=len(values))]
    exact = sum(total >= sum(values) - 1e-12 for total in sums) / len(sums)
    assert sign_flip_p_value(differences, samples=20_000, seed=0) == pytest.approx(exact, abs=0.01)


def test_sign_flips_raise_no_more_false_alarms_than_promised():
    generator = np.random.default_rng(1)
    draws = [generator.integers(-1, 2, size=40) / 40 for _ in range(400)]
    alarms = sum(sign_flip_p_value(draw, samples=200, seed=index) < 0.05 for index, draw in enumerate(draws))
    assert 5 <= alarms <= 34  # 20 expected; three standard deviations


def test_sign_flips_of_equal_models():
    assert sign_flip_p_value([0.0, 0.0], samples=100, seed=0) == 1.0
    assert sign_flip_p_value([], samples=100, seed=0) == 1.0
