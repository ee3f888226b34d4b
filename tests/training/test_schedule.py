"""The learning rate: warm-up, cosine, and its ends."""

from __future__ import annotations

import pytest

from components.training.schedule import learning_rate

PAPER_7B = {"lr": 3e-4, "min_lr": 1e-6, "warmup_iters": 2000, "train_iters": 14000}


@pytest.mark.parametrize(
    ("iteration", "expected"),
    [(1, 3e-4 / 2000), (1000, 1.5e-4), (2000, 3e-4), (8000, (3e-4 + 1e-6) / 2), (14000, 1e-6)],
)
def test_paper_schedule(iteration: int, expected: float) -> None:
    assert learning_rate(iteration, **PAPER_7B) == pytest.approx(expected)


def test_without_warmup_the_first_step_is_already_on_the_cosine() -> None:
    rate = learning_rate(1, lr=1.0, min_lr=0.0, warmup_iters=0, train_iters=2)
    assert rate == pytest.approx(0.5)
