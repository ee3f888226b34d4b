"""Linear and embedding layers split over a tensor-parallel group.

Each parameter says how it is split: `tensor_model_parallel` (DeepSpeed reads it to count a gradient norm over all
shards; without it the norm is silently too small) and `partition_dim` (the weight conversion reads it).
Weights start uninitialised: they always come from a checkpoint.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from components.training.parallel.mappings import reduce_scatter_to_sequence_region


class ColumnParallelLinear(nn.Module):
    """y = x Wᵀ with the rows of W (output features) split over the group.

    Input [sequence, batch, in_features], whole on each rank; output [sequence, batch, out_features / TP].
    """

    def __init__(self, in_features: int, out_features: int, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.weight = sharded_parameter(out_features // group.size(), in_features, partition_dim=0)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight)


class RowParallelLinear(nn.Module):
    """y = x Wᵀ with the columns of W (input features) split over the group.

    Input [sequence, batch, in_features / TP]; the partial products are summed over the group and each rank keeps
    its slice of the sequence: output [sequence / TP, batch, out_features].
    """

    def __init__(self, in_features: int, out_features: int, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.group = group
        self.weight = sharded_parameter(out_features, in_features // group.size(), partition_dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return reduce_scatter_to_sequence_region(functional.linear(x, self.weight), self.group)


class VocabParallelEmbedding(nn.Module):
    """Embedding table with its rows (the vocabulary) split over the group.

    Input token ids [batch, sequence]; output [sequence / TP, batch, hidden]. A rank contributes zeros for the
    tokens of other ranks, so the sum over the group is the embedding.
    """

    def __init__(self, vocab_size: int, hidden_size: int, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.group = group
        self.rows = vocab_size // group.size()
        self.first = group.rank() * self.rows
        self.weight = sharded_parameter(self.rows, hidden_size, partition_dim=0)

    def forward(self, tokens: Tensor) -> Tensor:
        local = tokens.t() - self.first
        elsewhere = (local < 0) | (local >= self.rows)
        x = functional.embedding(local.masked_fill(elsewhere, 0), self.weight)
        x = x.masked_fill(elsewhere.unsqueeze(-1), 0.0)
        return reduce_scatter_to_sequence_region(x, self.group)


def sharded_parameter(*shape: int, partition_dim: int) -> nn.Parameter:
    """An uninitialised parameter that is one rank's slice, along `partition_dim`, of a larger one."""
    parameter = nn.Parameter(torch.empty(*shape))
    parameter.tensor_model_parallel = True
    parameter.partition_dim = partition_dim
    return parameter
