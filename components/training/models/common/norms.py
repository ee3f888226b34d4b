"""Normalisation of hidden states.

The norms work on a slice of the sequence, so each rank of the tensor group sees only part of their parameters'
gradients: `sequence_parallel` marks those parameters, and the engine sums their gradients over the group.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from components.training.models.common.recompute import recomputed
from components.training.parallel.mappings import gather_from_sequence_region


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) · weight, computed in float32 (Zhang & Sennrich 2019)."""

    def __init__(self, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = _sequence_parallel_parameter(hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        normalised = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * normalised.to(x.dtype)


class LayerNorm(nn.Module):
    """(x - mean(x)) / sqrt(var(x) + eps) · weight + bias (Ba et al. 2016); torch computes it in float32."""

    def __init__(self, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = _sequence_parallel_parameter(hidden_size)
        self.bias = _sequence_parallel_parameter(hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


def whole_sequence(norm: nn.Module, x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """norm(x), gathered from the ranks' slices: [sequence / TP, batch, hidden] → [sequence, batch, hidden]."""
    return recomputed(_normalise_and_gather, norm, x, group)


def _normalise_and_gather(norm: nn.Module, x: Tensor, group: dist.ProcessGroup) -> Tensor:
    return gather_from_sequence_region(norm(x), group)


def _sequence_parallel_parameter(size: int) -> nn.Parameter:
    parameter = nn.Parameter(torch.empty(size))
    parameter.sequence_parallel = True
    return parameter
