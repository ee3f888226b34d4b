"""Cross-entropy over a split vocabulary against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from tests.training.ranks import run_ranks


def compare(vocab_size: int, scale: float) -> None:
    """Runs on each rank: loss and gradient of its slice of the same logits."""
    from components.training.parallel.loss import vocab_parallel_cross_entropy

    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    generator = torch.Generator().manual_seed(3)
    logits = scale * torch.randn(5, 3, vocab_size, generator=generator)
    targets = torch.randint(vocab_size, (5, 3), generator=generator)
    weights = torch.rand(5, 3, generator=generator)

    whole = logits.clone().requires_grad_()
    expected = torch.nn.functional.cross_entropy(whole.movedim(-1, 1), targets, reduction="none")
    (expected * weights).sum().backward()

    own = logits.chunk(size, dim=-1)[rank].clone().requires_grad_()
    losses = vocab_parallel_cross_entropy(own, targets, dist.group.WORLD)
    (losses * weights).sum().backward()
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(own.grad, whole.grad.chunk(size, dim=-1)[rank])


@pytest.mark.parametrize("scale", [1.0, 300.0], ids=["usual", "large logits"])
def test_one_rank(scale: float) -> None:
    run_ranks(1, compare, 12, scale)


@pytest.mark.slow
def test_two_ranks() -> None:
    run_ranks(2, compare, 12, 1.0)
