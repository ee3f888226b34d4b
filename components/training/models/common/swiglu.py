"""The gated MLP of Llama and Mistral."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from components.training.models.common.recompute import recomputed
from components.training.parallel.layers import ColumnParallelLinear, RowParallelLinear


class SwiGLU(nn.Module):
    """down(silu(gate(x)) · up(x)) (Shazeer 2020); the intermediate features are split over the group.

    Input [sequence, batch, hidden], whole on each rank; output [sequence / TP, batch, hidden].
    """

    def __init__(self, hidden_size: int, intermediate_size: int, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.gate_proj = ColumnParallelLinear(hidden_size, intermediate_size, group)
        self.up_proj = ColumnParallelLinear(hidden_size, intermediate_size, group)
        self.down_proj = RowParallelLinear(intermediate_size, hidden_size, group)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(recomputed(_gated, self.gate_proj(x), self.up_proj(x)))


def _gated(gate: Tensor, up: Tensor) -> Tensor:
    return functional.silu(gate) * up
