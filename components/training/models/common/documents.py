"""Documents that share a sample without seeing each other."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention


class Documents:
    """Which tokens of a micro-batch belong together; one for all layers, which so share the masks.

    Attributes:
        positions: [batch, sequence], int64: each token's position within its document, 0 at its first token.
    """

    def __init__(self, positions: Tensor) -> None:
        self.positions = positions
        self._ids = (positions == 0).cumsum(dim=1)
        self._masks: dict[int | None, Tensor | BlockMask] = {}

    def attention(self, q: Tensor, k: Tensor, v: Tensor, window: int | None) -> Tensor:
        """softmax(q kᵀ / √head_dim) v, where a query sees its own document up to itself.

        Args:
            q, k, v: [batch, heads, sequence, head_dim]; each key/value head serves as many consecutive query heads.
            window: how many keys a query sees at most, its own included; None: all.

        Returns:
            As q.
        """
        grouped = q.shape[1] != k.shape[1]
        if window not in self._masks:
            self._masks[window] = self.block_mask(window) if q.is_cuda else self.mask(window)
        mask = self._masks[window]
        if isinstance(mask, BlockMask):
            return _compiled_flex_attention()(q, k, v, block_mask=mask, enable_gqa=grouped)
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=grouped)

    def mask(self, window: int | None) -> Tensor:
        """[batch, 1, sequence, sequence], true where query i (row) sees key j."""
        index = torch.arange(self.positions.shape[1], device=self.positions.device)
        distance = index[:, None] - index
        seen = (distance >= 0) if window is None else (distance >= 0) & (distance < window)
        return (seen & (self._ids[:, :, None] == self._ids[:, None, :]))[:, None]

    def block_mask(self, window: int | None) -> BlockMask:
        """The same for flex attention, which leaves out the blocks of keys that no query sees."""
        ids = self._ids

        def sees(batch: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
            seen = (i >= j) & (ids[batch, i] == ids[batch, j])
            return seen if window is None else seen & (i - j < window)

        batch, length = ids.shape
        return create_block_mask(sees, batch, None, length, length, device=ids.device)


@lru_cache(maxsize=1)
def _compiled_flex_attention():
    """Without compilation, flex attention would hold all scores in memory."""
    return torch.compile(flex_attention)
