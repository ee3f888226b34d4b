"""The sizes of a model that memory, communication and time depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml

from components.platform.errors import InputError

FAMILIES = ("llama", "mistral", "falcon")
MLP_EXPANSION = 4  # Falcon's MLP width over its hidden size, where config.json doesn't say


@dataclass(frozen=True)
class ModelSizes:
    """A decoder-only transformer.

    Attributes:
        hidden_size, num_layers, num_heads, num_kv_heads, head_dim, intermediate_size, vocab_size: as usual.
        max_positions: longest sequence, in tokens.
        fused_qkv: one matrix makes queries, keys and values.
        gated_mlp: three matrices and a product (SwiGLU), not two.
        tied_embeddings: the head uses the embedding's weights.
        norm: "rms" (a weight) or "layer" (a weight and a bias).
        norms_per_layer: norms in a decoder layer.
        gathers_per_layer, scatters_per_layer: all-gathers and reduce-scatters over the tensor group in a forward
            pass; two each, or fewer where attention and MLP stand side by side.
    """

    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    max_positions: int
    fused_qkv: bool = False
    gated_mlp: bool = True
    tied_embeddings: bool = False
    norm: Literal["rms", "layer"] = "rms"
    norms_per_layer: int = 2
    gathers_per_layer: int = 2
    scatters_per_layer: int = 2

    @classmethod
    def from_hf(cls, record: Mapping[str, Any], origin: str) -> ModelSizes:
        """Read the content of a `config.json`; `origin` is where it came from, for messages.

        Raises:
            InputError: another family, or a key is missing.
        """
        family = record.get("model_type")
        if family not in FAMILIES:
            raise InputError(f"{origin}: model_type is {family!r}; models of {', '.join(FAMILIES)} can be planned")
        try:
            hidden, heads = record["hidden_size"], record["num_attention_heads"]
            common = {
                "hidden_size": hidden,
                "num_layers": record["num_hidden_layers"],
                "num_heads": heads,
                "head_dim": record.get("head_dim") or hidden // heads,
                "vocab_size": record["vocab_size"],
                "max_positions": record.get("max_position_embeddings", 2048),
            }
            return cls(**common, **(_falcon(record) if family == "falcon" else _llama(record)))
        except KeyError as error:
            raise InputError(f"{origin}: the key {error} is missing from this model configuration") from None

    @property
    def query_width(self) -> int:
        return self.num_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of the keys, and of the values."""
        return self.num_kv_heads * self.head_dim

    @property
    def norm_parameters(self) -> int:
        """Parameters of one norm."""
        return self.hidden_size * (2 if self.norm == "layer" else 1)

    @property
    def layer_matrix_parameters(self) -> int:
        """Parameters in the matrices of one decoder layer."""
        attention = 2 * self.hidden_size * (self.query_width + self.kv_width)
        return attention + (3 if self.gated_mlp else 2) * self.hidden_size * self.intermediate_size

    @property
    def layer_parameters(self) -> int:
        return self.layer_matrix_parameters + self.norms_per_layer * self.norm_parameters

    @property
    def parameters(self) -> int:
        """All parameters, without the padding of the vocabulary."""
        vocabulary = self.vocab_size * self.hidden_size * (1 if self.tied_embeddings else 2)
        return self.num_layers * self.layer_parameters + vocabulary + self.norm_parameters


def _llama(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "num_kv_heads": record.get("num_key_value_heads") or record["num_attention_heads"],
        "intermediate_size": record["intermediate_size"],
        "tied_embeddings": record.get("tie_word_embeddings", False),
    }


def _falcon(record: Mapping[str, Any]) -> dict[str, Any]:
    """Attention and MLP stand side by side; 40B has a norm for each, 7B one for both (Almazrouei et al. 2023)."""
    if record.get("new_decoder_architecture"):
        kv_heads, norms = record.get("num_kv_heads") or record["num_attention_heads"], 2
    else:
        kv_heads, norms = 1 if record.get("multi_query", True) else record["num_attention_heads"], 1
    return {
        "num_kv_heads": kv_heads,
        "intermediate_size": record.get("ffn_hidden_size") or MLP_EXPANSION * record["hidden_size"],
        "tied_embeddings": record.get("tie_word_embeddings", True),
        "fused_qkv": True,
        "gated_mlp": False,
        "norm": "layer",
        "norms_per_layer": norms,
        "gathers_per_layer": norms,
        "scatters_per_layer": 1,
    }


def published_sizes(folder_name: str) -> ModelSizes:
    """The sizes of a well-known model, by the name of its folder, such as `Llama-2-7b-hf`.

    Raises:
        InputError: the name is not one of those in published_models.yaml.
    """
    records = _published()
    for name, record in records.items():
        if name in folder_name.lower():
            return ModelSizes.from_hf(record, f"published_models.yaml: {name}")
    raise InputError(
        f"the sizes of {folder_name!r} are not known here; give its config.json with --model-config "
        f"(known by name: {', '.join(records)})"
    )


@cache
def _published() -> dict[str, dict[str, Any]]:
    return yaml.safe_load((resources.files(__package__) / "published_models.yaml").read_text(encoding="utf-8"))
