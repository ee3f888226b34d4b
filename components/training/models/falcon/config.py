"""The shape of a Falcon model, read from a Hugging Face `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from components.platform.errors import InputError
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

SUPPORTED = {"activation": "gelu", "bias": False, "hidden_dropout": 0.0, "attention_dropout": 0.0}


@dataclass(frozen=True)
class FalconConfig:
    """Sizes of a Falcon model, under the names that all families share.

    Attributes:
        num_key_value_heads: 1 in Falcon 7B (multi-query attention: Shazeer 2019), 8 in the larger ones.
        separate_norms: one layer norm for attention and another for the MLP (40B, 180B), not one for both (7B, 11B).
        layer_norm_epsilon: added to the variance.
    """

    weight_names: ClassVar[WeightNames] = WeightNames(
        embedding="transformer.word_embeddings.",
        decoder_layer="transformer.h.{}.",
        final_norm="transformer.ln_f.",
        head="lm_head.",
    )

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    separate_norms: bool
    layer_norm_epsilon: float
    max_position_embeddings: int
    rope: RopeConfig
    tie_word_embeddings: bool = True

    @classmethod
    def from_hf(cls, record: Mapping[str, Any], origin: str) -> FalconConfig:
        """Read the content of a `config.json`; `origin` is where it came from, for messages.

        Raises:
            InputError: a key is missing, or a feature is not supported.
        """
        if record.get("alibi"):
            raise InputError(f"{origin}: alibi is true; only Falcon models with rotary positions can be trained")
        refuse_unless(record, SUPPORTED, origin)
        is_new = bool(record.get("new_decoder_architecture"))  # 11B, 40B, 180B
        if not is_new:
            refuse_unless(record, {"parallel_attn": True}, origin)
        heads, hidden = (require(record, key, origin) for key in ("num_attention_heads", "hidden_size"))
        if hidden % heads:
            raise InputError(f"{origin}: hidden_size {hidden} is not divisible by num_attention_heads {heads}")
        if is_new:
            key_value_heads = record.get("num_kv_heads") or heads
        else:
            key_value_heads = 1 if record.get("multi_query", True) else heads
        return cls(
            vocab_size=require(record, "vocab_size", origin),
            hidden_size=hidden,
            intermediate_size=record.get("ffn_hidden_size") or 4 * hidden,
            num_hidden_layers=require(record, "num_hidden_layers", origin),
            num_attention_heads=heads,
            num_key_value_heads=key_value_heads,
            separate_norms=is_new and (record.get("num_ln_in_parallel_attn") or 2) == 2,
            layer_norm_epsilon=record.get("layer_norm_epsilon", 1e-5),
            max_position_embeddings=record.get("max_position_embeddings", 2048),
            rope=rope_config(record, origin),
            tie_word_embeddings=record.get("tie_word_embeddings", True),
        )

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @property
    def layer_traits(self) -> LayerTraits:
        """Attention and MLP stand side by side (Almazrouei et al. 2023)."""
        branches = 2 if self.separate_norms else 1
        return LayerTraits(gated_mlp=False, fused_qkv=True, norm="layer", norms=branches, gathers=branches, scatters=1)

    def with_vocab_size(self, vocab_size: int) -> FalconConfig:
        return replace(self, vocab_size=vocab_size)

    def plan_layers(self, group: dist.ProcessGroup) -> list[PlannedLayer]:
        """The model as the list of layers that pipeline stages are cut from."""
        from components.training.models.falcon.model import plan_layers  # reading a config needs no torch

        return plan_layers(self, group)
