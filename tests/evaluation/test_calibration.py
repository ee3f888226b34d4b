"""Reliability diagrams and their expected calibration error."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.evaluation.calibration import expected_calibration_error, reliability


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
