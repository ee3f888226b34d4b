"""The attention core against the definition, written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.attention.flex_attention import flex_attention

from components.training.models.common.attention import rotary_attention
from components.training.models.common.config import RopeConfig
from components.training.models.common.documents import Documents
from components.training.models.common.rotary import rotary_table, rotate

LENGTH, BATCH, HEAD_DIM = 12, 2, 8


def random_heads(queries: int, keys: int) -> list[torch.Tensor]:
    """Queries, keys and values, each [sequence, batch, heads, head_dim]."""
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(LENGTH, BATCH, heads, HEAD_DIM, generator=generator) for heads in (queries, keys, keys)]


@pytest.mark.parametrize("window", [None, 1, 5, LENGTH, 100])
@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (3, 1)], ids=["MHA", "GQA", "MQA"])
def test_equals_the_definition(window: int | None, heads: tuple[int, int]) -> None:
    queries, keys = heads
    q, k, v = random_heads(queries, keys)
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


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("heads", [(4, 4), (4, 2)], ids=["MHA", "GQA"])
def test_packed_documents_equal_separate_ones(window: int | None, heads: tuple[int, int]) -> None:
    q, k, v = random_heads(*heads)
    positions = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 0, 1, 2, 3, 4], [*range(12)]])
    result = rotary_attention(q, k, v, RopeConfig(), window, Documents(positions))
    pieces = [slice(0, 5), slice(5, 7), slice(7, 12)]
    separate = [rotary_attention(q[p, :1], k[p, :1], v[p, :1], RopeConfig(), window) for p in pieces]
    torch.testing.assert_close(result[:, :1], torch.cat(separate))
    torch.testing.assert_close(result[:, 1:], rotary_attention(q, k, v, RopeConfig(), window)[:, 1:])


@pytest.mark.parametrize("window", [None, 3])
def test_flex_attention_equals_the_mask(window: int | None) -> None:
    """What runs on GPUs, here without compilation, against what runs on CPUs; on CPUs it has no backward pass."""
    tensors = [tensor.permute(1, 2, 0, 3) for tensor in random_heads(4, 2)]
    documents = Documents(torch.tensor([[0, 1, 2, 3, 4, 0, 1, 0, 1, 2, 3, 4], [*range(12)]]))
    masked = documents.attention(*tensors, window)
    flexible = flex_attention(*tensors, block_mask=documents.block_mask(window), enable_gqa=True)
    torch.testing.assert_close(flexible, masked)
