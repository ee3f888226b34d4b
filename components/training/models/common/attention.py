"""Causal attention with rotary positions and grouped queries, with or without a sliding window."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from components.training.models.common.config import ModelConfig, RopeConfig
from components.training.models.common.documents import Documents
from components.training.models.common.rotary import at_positions, rotary_table, rotate
from components.training.parallel.layers import ColumnParallelLinear, RowParallelLinear


def rotary_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rope: RopeConfig,
    window: int | None = None,
    documents: Documents | None = None,
) -> Tensor:
    """softmax(rotate(q) rotate(k)ᵀ / √head_dim + causal mask) v for each head.

    Args:
        q: [sequence, batch, query heads, head_dim].
        k, v: [sequence, batch, key/value heads, head_dim]; each serves an equal number of consecutive query heads.
        rope: rotary positions.
        window: how many keys a query sees, its own position included (Mistral: Jiang et al. 2023, §2); None: all.
        documents: what belongs together; None: the whole sample.

    Returns:
        [sequence, batch, query heads · head_dim].
    """
    length = q.shape[0]
    table = rotary_table(rope, q.shape[-1], length, q.device, q.dtype)
    if documents is not None:
        table = at_positions(table, documents.positions)
    q, k = rotate(q, table), rotate(k, table)
    # [sequence, batch, heads, head_dim] → [batch, heads, sequence, head_dim]
    q, k, v = (tensor.permute(1, 2, 0, 3) for tensor in (q, k, v))
    if documents is not None:
        return documents.attention(q, k, v, window).permute(2, 0, 1, 3).flatten(2)
    # An explicit mask rules out the flash kernel, so there is one only where the window hides something.
    mask = _band(length, window, q.device) if window is not None and window < length else None
    context = functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=q.shape[1] != k.shape[1]
    )
    return context.permute(2, 0, 1, 3).flatten(2)


@lru_cache(maxsize=4)
def _band(length: int, window: int, device: torch.device) -> Tensor:
    """[length, length], true where query i (row) sees key j: i - window < j ≤ i. Shared by all layers of a stage."""
    causal = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return causal.triu(1 - window)


class Attention(nn.Module):
    """Causal grouped-query attention (Ainslie et al. 2023); the heads are split over the group.

    Input [sequence, batch, hidden], whole on each rank; output [sequence / TP, batch, hidden].
    """

    def __init__(
        self, config: ModelConfig, rope: RopeConfig, group: dist.ProcessGroup, window: int | None = None
    ) -> None:
        super().__init__()
        self.head_dim, self.rope, self.window = config.head_dim, rope, window
        queries = config.num_attention_heads * config.head_dim
        keys = config.num_key_value_heads * config.head_dim
        self.q_proj = ColumnParallelLinear(config.hidden_size, queries, group)
        self.k_proj = ColumnParallelLinear(config.hidden_size, keys, group)
        self.v_proj = ColumnParallelLinear(config.hidden_size, keys, group)
        self.o_proj = RowParallelLinear(queries, config.hidden_size, group)

    def forward(self, x: Tensor, documents: Documents | None) -> Tensor:
        q, k, v = (self._heads(projection(x)) for projection in (self.q_proj, self.k_proj, self.v_proj))
        return self.o_proj(rotary_attention(q, k, v, self.rope, self.window, documents))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_dim))
