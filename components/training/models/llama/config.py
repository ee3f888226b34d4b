"""The shape of a Llama model, read from a Hugging Face `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from components.training.models.common.config import (
    LayerTraits,
    RopeConfig,
    WeightNames,
    refuse_unless,
    require,
    rope_config,
)

if TYPE_CHECKING:
    import torch.distributed as dist

    from components.training.models.common.plan import PlannedLayer

SUPPORTED = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "attention_dropout": 0.0}


@dataclass(frozen=True)
class LlamaConfig:
    """Sizes of a Llama model, under their Hugging Face names."""

    layer_traits: ClassVar[LayerTraits] = LayerTraits()
    weight_names: ClassVar[WeightNames] = WeightNames(
        embedding="model.embed_tokens.", decoder_layer="model.layers.{}.", final_norm="model.norm.", head="lm_head."
    )

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    max_position_embeddings: int
    rope: RopeConfig
    tie_word_embeddings: bool = False

    @classmethod
    def from_hf(cls, record: Mapping[str, Any], origin: str) -> LlamaConfig:
        """Read the content of a `config.json`; `origin` is where it came from, for messages.

        Raises:
            InputError: a key is missing, or a feature is not supported.
        """
        refuse_unless(record, SUPPORTED, origin)
        heads, hidden = (require(record, key, origin) for key in ("num_attention_heads", "hidden_size"))
        return cls(
            vocab_size=require(record, "vocab_size", origin),
            hidden_size=hidden,
            intermediate_size=require(record, "intermediate_size", origin),
            num_hidden_layers=require(record, "num_hidden_layers", origin),
            num_attention_heads=heads,
            num_key_value_heads=record.get("num_key_value_heads") or heads,
            head_dim=record.get("head_dim") or hidden // heads,
            rms_norm_eps=record.get("rms_norm_eps", 1e-6),
            max_position_embeddings=record.get("max_position_embeddings", 2048),
            rope=rope_config(record, origin),
            tie_word_embeddings=record.get("tie_word_embeddings", False),
        )

    def with_vocab_size(self, vocab_size: int) -> LlamaConfig:
        return replace(self, vocab_size=vocab_size)

    def plan_layers(self, group: dist.ProcessGroup) -> list[PlannedLayer]:
        """The model as the list of layers that pipeline stages are cut from."""
        from components.training.models.llama.model import plan_layers  # reading a config needs no torch

        return plan_layers(self, group)
