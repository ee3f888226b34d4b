"""Moves between the two ways a hidden state is split inside a tensor-parallel group.

Between the parallel linear layers each rank holds a slice of the *sequence* ("sequence region", where norms and
residuals are computed); inside them each rank holds the whole sequence and a slice of the *features* ("tensor
region"). Hidden states are [sequence, batch, hidden], so a slice of the sequence is contiguous in memory.
Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models", §4.2.2, operators g and ḡ.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gather_from_sequence_region(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """[sequence / TP, batch, hidden] → [sequence, batch, hidden]; the gradient is summed and scattered back."""
    return _GatherFromSequence.apply(x, group) if group.size() > 1 else x


def reduce_scatter_to_sequence_region(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Partial sums [sequence, batch, hidden] → their sum's slice [sequence / TP, batch, hidden]."""
    return _ReduceScatterToSequence.apply(x, group) if group.size() > 1 else x


class _GatherFromSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return _all_gather(x, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _reduce_scatter(gradient, ctx.group), None


class _ReduceScatterToSequence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return _reduce_scatter(x, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _all_gather(gradient, ctx.group), None


def _all_gather(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    output = x.new_empty(x.shape[0] * group.size(), *x.shape[1:])
    dist.all_gather_single(output, x.contiguous(), group=group)
    return output


def _reduce_scatter(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    output = x.new_empty(x.shape[0] // group.size(), *x.shape[1:])
    dist.reduce_scatter_single(output, x.contiguous(), group=group)
    return output
