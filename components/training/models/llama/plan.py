"""A Llama model as the list of layers that pipeline stages are cut from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from torch import nn

from components.training.models.llama.config import LlamaConfig
from components.training.models.llama.model import DecoderLayer, Head, RMSNorm
from components.training.parallel.layers import VocabParallelEmbedding


@dataclass(frozen=True)
class PlannedLayer:
    """One layer, not built yet: only the stage that owns it allocates it.

    Attributes:
        module: its class.
        arguments: what to build it with.
        weights_prefix: what Hugging Face puts before its parameter names; the rest of the name is the same.
    """

    module: type[nn.Module]
    arguments: tuple[Any, ...]
    weights_prefix: str


def plan_layers(config: LlamaConfig, group: dist.ProcessGroup) -> list[PlannedLayer]:
    """Embedding, decoder layers, final norm, head. Only one tensor, the hidden states, passes between them."""
    vocab = padded_vocab_size(config.vocab_size, group.size())
    blocks = [
        PlannedLayer(DecoderLayer, (config, group), f"model.layers.{index}.")
        for index in range(config.num_hidden_layers)
    ]
    return [
        PlannedLayer(VocabParallelEmbedding, (vocab, config.hidden_size, group), "model.embed_tokens."),
        *blocks,
        PlannedLayer(RMSNorm, (config.hidden_size, config.rms_norm_eps), "model.norm."),
        PlannedLayer(Head, (config, vocab, group), "lm_head."),
    ]


def padded_vocab_size(vocab_size: int, tensor_parallel_size: int) -> int:
    """The next multiple of the tensor-parallel size, so that each rank holds the same number of rows."""
    return -(-vocab_size // tensor_parallel_size) * tensor_parallel_size
