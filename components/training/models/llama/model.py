"""The modules of a Llama model. Each holds one rank's slice and knows only its tensor-parallel group.

Hidden states between modules are [sequence / TP, batch, hidden]. Module and parameter names are those of Hugging
Face's `LlamaForCausalLM`, so converting weights is a matter of prefixes (`weights.py`).
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from components.training.models.llama.config import LlamaConfig
from components.training.models.llama.rotary import rotary_table, rotate
from components.training.parallel.layers import ColumnParallelLinear, RowParallelLinear
from components.training.parallel.mappings import gather_from_sequence_region


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + eps) · weight, computed in float32 (Zhang & Sennrich 2019).

    Works on a slice of the sequence, so each rank of the tensor group sees only part of the weight's gradient:
    `sequence_parallel` marks the weight, and the engine sums its gradient over the group.
    """

    def __init__(self, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(hidden_size))
        self.weight.sequence_parallel = True

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        normalised = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * normalised.to(x.dtype)


class Attention(nn.Module):
    """Causal grouped-query attention (Ainslie et al. 2023); the heads are split over the group."""

    def __init__(self, config: LlamaConfig, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.config, self.group = config, group
        queries = config.num_attention_heads * config.head_dim
        keys = config.num_key_value_heads * config.head_dim
        self.q_proj = ColumnParallelLinear(config.hidden_size, queries, group)
        self.k_proj = ColumnParallelLinear(config.hidden_size, keys, group)
        self.v_proj = ColumnParallelLinear(config.hidden_size, keys, group)
        self.o_proj = RowParallelLinear(queries, config.hidden_size, group)

    def forward(self, x: Tensor) -> Tensor:
        x = gather_from_sequence_region(x, self.group)
        q, k, v = (self._heads(projection(x)) for projection in (self.q_proj, self.k_proj, self.v_proj))
        table = rotary_table(self.config.rope, self.config.head_dim, x.shape[0], x.device, x.dtype)
        q, k = rotate(q, table), rotate(k, table)
        # [sequence, batch, heads, head_dim] → [batch, heads, sequence, head_dim]
        q, k, v = (tensor.permute(1, 2, 0, 3) for tensor in (q, k, v))
        context = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1])
        return self.o_proj(context.permute(2, 0, 1, 3).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.config.head_dim))


class MLP(nn.Module):
    """SwiGLU: down(silu(gate(x)) · up(x)) (Shazeer 2020); the intermediate features are split over the group."""

    def __init__(self, config: LlamaConfig, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.group = group
        self.gate_proj = ColumnParallelLinear(config.hidden_size, config.intermediate_size, group)
        self.up_proj = ColumnParallelLinear(config.hidden_size, config.intermediate_size, group)
        self.down_proj = RowParallelLinear(config.intermediate_size, config.hidden_size, group)

    def forward(self, x: Tensor) -> Tensor:
        x = gather_from_sequence_region(x, self.group)
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: LlamaConfig, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config, group)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config, group)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Head(ColumnParallelLinear):
    """Hidden states → logits [sequence, batch, vocabulary / TP].

    The vocabulary is padded to a multiple of the group size. The padding rows are not tokens: their logits are -inf,
    so no probability goes to them and the loss is that of the unpadded model.
    """

    def __init__(self, config: LlamaConfig, padded_vocab_size: int, group: dist.ProcessGroup) -> None:
        super().__init__(config.hidden_size, padded_vocab_size, group)
        self.group = group
        rows = padded_vocab_size // group.size()
        self.token_rows = min(max(config.vocab_size - group.rank() * rows, 0), rows)

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(gather_from_sequence_region(x, self.group))
        if self.token_rows < logits.shape[-1]:
            logits[..., self.token_rows :] = float("-inf")
        return logits
