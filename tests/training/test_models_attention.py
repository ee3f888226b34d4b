"""The attention core against the definition, written out."""

from __future__ import annotations

import math

import pytest
import torch

from components.training.models.common.attention import rotary_attention
from components.training.models.common.config import RopeConfig
from components.training.models.common.rotary import rotary_table, rotate

LENGTH, BATCH, HEAD_DIM = 12, 2, 8


@pytest.mark.parametrize("window", [None, 1, 5, LENGTH, 100])
@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (3, 1)], ids=["MHA", "GQA", "MQA"])
def test_equals_the_definition(window: int | None, heads: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(5)
    queries, keys = heads
    q = torch.randn(LENGTH, BATCH, queries, HEAD_DIM, generator=generator)
    k, v = (torch.randn(LENGTH, BATCH, keys, HEAD_DIM, generator=generator) for _ in range(2))
    result = rotary_attention(q, k, v, RopeConfig(), window)

    table = rotary_table(RopeConfig(), HEAD_DIM, LENGTH, torch.device("cpu"), torch.float32)
    q, k = rotate(q, table), rotate(k, table)
    for i in range(LENGTH):
        first = 0 if window is None else max(0, i - window + 1)
        for head in range(queries):
            shared = head // (queries // keys)
            scores = torch.einsum("bd,jbd->bj", q[i, :, head], k[first : i + 1, :, shared]) / math.sqrt(HEAD_DIM)
            expected = torch.einsum("bj,jbd->bd", scores.softmax(-1), v[first : i + 1, :, shared])
            own = result[i].unflatten(-1, (queries, HEAD_DIM))[:, head]
            torch.testing.assert_close(own, expected)
