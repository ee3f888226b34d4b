"""The learning rate of each iteration."""

from __future__ import annotations

import math


def learning_rate(iteration: int, *, lr: float, min_lr: float, warmup_iters: int, train_iters: int) -> float:
    """Linear from 0 to `lr` over the warm-up, then a cosine down to `min_lr` at the last iteration.

    `iteration` counts from 1: the first step is taken with lr / warmup_iters, not with zero.
    """
    if iteration <= warmup_iters:
        return lr * iteration / warmup_iters
    progress = min((iteration - warmup_iters) / (train_iters - warmup_iters), 1.0)
    return min_lr + (lr - min_lr) * 0.5 * (1.0 + math.cos(math.pi * progress))
