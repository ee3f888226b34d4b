"""A model as the list of layers that pipeline stages are cut from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from components.training.models.common.config import ModelConfig
from components.training.models.common.head import Head, padded_vocab_size, tied_head
from components.training.parallel.layers import VocabParallelEmbedding


@dataclass(frozen=True)
class PlannedLayer:
    """One layer, not built yet: only the stage that owns it allocates it.

    Attributes:
        module: its class.
        arguments: what to build it with.
        weights_prefix: what Hugging Face puts before its parameter names; the rest of the name is the same.
        is_tied: whether it shares its weights with the other tied layer, wherever that is.
        forward: how a tied layer computes its output, where that is not the module's own `forward`.
    """

    module: type[nn.Module]
    arguments: tuple[Any, ...]
    weights_prefix: str
    is_tied: bool = False
    forward: Callable[[nn.Module, Tensor], Tensor] | None = None


def plan_decoder(
    config: ModelConfig, group: dist.ProcessGroup, decoder_layer: type[nn.Module], final_norm: tuple[Any, ...]
) -> list[PlannedLayer]:
    """Embedding, decoder layers, final norm, head. Only one tensor, the hidden states, passes between them.

    Args:
        config: the model.
        group: the tensor-parallel group.
        decoder_layer: the family's layer, built with (config, group).
        final_norm: class of the norm before the head, and what to build it with.
    """
    names, tied = config.weight_names, config.tie_word_embeddings
    table = (padded_vocab_size(config.vocab_size, group.size()), config.hidden_size, group)
    embedding = PlannedLayer(VocabParallelEmbedding, table, names.embedding, is_tied=tied)
    if tied:
        forward = partial(tied_head, vocab_size=config.vocab_size)
        head = PlannedLayer(VocabParallelEmbedding, table, names.embedding, is_tied=True, forward=forward)
    else:
        head = PlannedLayer(Head, (config.hidden_size, config.vocab_size, group), names.head)
    layers = [
        PlannedLayer(decoder_layer, (config, group), names.decoder_layer.format(index))
        for index in range(config.num_hidden_layers)
    ]
    norm, *norm_arguments = final_norm
    return [embedding, *layers, PlannedLayer(norm, tuple(norm_arguments), names.final_norm), head]
