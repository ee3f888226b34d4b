"""The modules of a Falcon model. Each holds one rank's slice and knows only its tensor-parallel group.

Hidden states between layers are [sequence / TP, batch, hidden]. Module and parameter names are those of Hugging
Face's `FalconForCausalLM`.

Attention and MLP read the same hidden states and their outputs are added (Almazrouei et al. 2023). Both outputs are
partial sums over the tensor group, so they are added first and summed over the group together: one reduce-scatter a
layer where Llama needs two, and one all-gather too where both branches share their norm.
"""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from components.training.models.common.attention import rotary_attention
from components.training.models.common.documents import Documents
from components.training.models.common.norms import LayerNorm, whole_sequence
from components.training.models.common.plan import PlannedLayer, plan_decoder
from components.training.models.common.recompute import recomputed
from components.training.models.falcon.config import FalconConfig
from components.training.parallel.layers import ColumnParallelLinear, sharded_parameter
from components.training.parallel.mappings import reduce_scatter_to_sequence_region


class PartialSumLinear(nn.Module):
    """y = x Wᵀ with the columns of W (input features) split over the group, and the sum left to the caller.

    Input [sequence, batch, in_features / TP]; output [sequence, batch, out_features], to be summed over the group.
    """

    def __init__(self, in_features: int, out_features: int, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.weight = sharded_parameter(out_features, in_features // group.size(), partition_dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight)


class Attention(nn.Module):
    """Causal attention with few key/value heads.

    The rows of `query_key_value` are [key/value heads, query heads of each + 2, head_dim]: the queries that a
    key/value head serves, its key, its value. A rank holds whole key/value heads, so its rows are contiguous.
    """

    def __init__(self, config: FalconConfig, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.rope = config.rope
        self.queries_per_key = config.num_attention_heads // config.num_key_value_heads
        self.head_dim = config.head_dim
        rows = config.num_key_value_heads * (self.queries_per_key + 2) * config.head_dim
        self.query_key_value = ColumnParallelLinear(config.hidden_size, rows, group)
        self.dense = PartialSumLinear(config.hidden_size, config.hidden_size, group)

    def forward(self, x: Tensor, documents: Documents | None) -> Tensor:
        heads = self.query_key_value(x).unflatten(-1, (-1, self.queries_per_key + 2, self.head_dim))
        q, k, v = heads.split((self.queries_per_key, 1, 1), dim=-2)
        q, k, v = (tensor.flatten(2, 3) for tensor in (q, k, v))
        return self.dense(rotary_attention(q, k, v, self.rope, documents=documents))


class MLP(nn.Module):
    """down(gelu(up(x))); the intermediate features are split over the group."""

    def __init__(self, config: FalconConfig, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.dense_h_to_4h = ColumnParallelLinear(config.hidden_size, config.intermediate_size, group)
        self.dense_4h_to_h = PartialSumLinear(config.intermediate_size, config.hidden_size, group)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense_4h_to_h(recomputed(functional.gelu, self.dense_h_to_4h(x)))


class DecoderLayer(nn.Module):
    """x + attention(norm(x)) + mlp(norm(x)), with one norm for both or one for each."""

    def __init__(self, config: FalconConfig, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.group, self.separate_norms = group, config.separate_norms
        if config.separate_norms:
            self.ln_attn = LayerNorm(config.hidden_size, config.layer_norm_epsilon)
            self.ln_mlp = LayerNorm(config.hidden_size, config.layer_norm_epsilon)
        else:
            self.input_layernorm = LayerNorm(config.hidden_size, config.layer_norm_epsilon)
        self.self_attention = Attention(config, group)
        self.mlp = MLP(config, group)

    def forward(self, x: Tensor, documents: Documents | None = None) -> Tensor:
        if self.separate_norms:
            for_attention = whole_sequence(self.ln_attn, x, self.group)
            for_mlp = whole_sequence(self.ln_mlp, x, self.group)
        else:
            for_attention = for_mlp = whole_sequence(self.input_layernorm, x, self.group)
        partial_sum = self.self_attention(for_attention, documents) + self.mlp(for_mlp)
        return x + reduce_scatter_to_sequence_region(partial_sum, self.group)


def plan_layers(config: FalconConfig, group: dist.ProcessGroup) -> list[PlannedLayer]:
    """The layers that pipeline stages are cut from."""
    return plan_decoder(config, group, DecoderLayer, (LayerNorm, config.hidden_size, config.layer_norm_epsilon))
