"""Cross-entropy over a vocabulary that is split over a tensor-parallel group."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def vocab_parallel_cross_entropy(logits: Tensor, targets: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Loss of each token: log Σ exp(logits) - logits[target], computed in float32.

    Args:
        logits: [..., vocabulary / TP], this rank's slice; ids run through the ranks of the group in order.
        targets: [...] token ids of the whole vocabulary.
        group: the tensor-parallel group.

    Returns:
        [...] float32, the same on all ranks of the group.
    """
    return _VocabParallelCrossEntropy.apply(logits, targets, group)


class _VocabParallelCrossEntropy(torch.autograd.Function):
    """Two all-reduces: the maximum, then the sum of exponentials together with the target's logit."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, group: dist.ProcessGroup) -> Tensor:
        rows = logits.shape[-1]
        maximum = logits.detach().amax(-1).float()
        if group.size() > 1:
            dist.all_reduce(maximum, dist.ReduceOp.MAX, group=group)
        shifted = logits.float() - maximum.unsqueeze(-1)

        local = targets - group.rank() * rows
        elsewhere = (local < 0) | (local >= rows)
        local = local.masked_fill(elsewhere, 0).unsqueeze(-1)
        target_logit = shifted.gather(-1, local).squeeze(-1).masked_fill(elsewhere, 0.0)
        exponentials = shifted.exp_()
        sums = torch.stack([exponentials.sum(-1), target_logit])
        if group.size() > 1:
            dist.all_reduce(sums, group=group)
        total, target_logit = sums

        ctx.save_for_backward(exponentials.div_(total.unsqueeze(-1)), local, elsewhere)
        ctx.dtype = logits.dtype
        return total.log() - target_logit

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """d loss / d logits = softmax(logits) - onehot(target)."""
        probabilities, local, elsewhere = ctx.saved_tensors
        one = torch.where(elsewhere, 0.0, 1.0).unsqueeze(-1)
        result = probabilities.scatter_add(-1, local, -one)
        return result.mul_(gradient.unsqueeze(-1)).to(ctx.dtype), None, None
