"""The sizes of a model that memory, communication and time depend on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from components.platform.errors import InputError
from components.training.models import config_from_hf
from components.training.models.common.config import LayerTraits, ModelConfig


@dataclass(frozen=True)
class ModelSizes:
    """A decoder-only transformer.

    Attributes:
        hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim, intermediate_size,
            vocab_size, max_position_embeddings: as in Hugging Face's config.json.
        layer: how a decoder layer is built.
        tied_embeddings: the head uses the embedding's weights.
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    layer: LayerTraits
    tied_embeddings: bool = False

    @classmethod
    def of(cls, config: ModelConfig) -> ModelSizes:
        """The sizes of a model that can be trained."""
        return cls(
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            num_key_value_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
            intermediate_size=config.intermediate_size,
            vocab_size=config.vocab_size,
            max_position_embeddings=config.max_position_embeddings,
            layer=config.layer_traits,
            tied_embeddings=config.tie_word_embeddings,
        )

    @property
    def query_width(self) -> int:
        return self.num_attention_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of the keys, and of the values."""
        return self.num_key_value_heads * self.head_dim

    @property
    def norm_parameters(self) -> int:
        """Parameters of one norm."""
        return self.hidden_size * (2 if self.layer.norm == "layer" else 1)

    @property
    def layer_matrix_parameters(self) -> int:
        """Parameters in the matrices of one decoder layer."""
        attention = 2 * self.hidden_size * (self.query_width + self.kv_width)
        return attention + self.layer.mlp_matrices * self.hidden_size * self.intermediate_size

    @property
    def layer_parameters(self) -> int:
        return self.layer_matrix_parameters + self.layer.norms * self.norm_parameters

    @property
    def parameters(self) -> int:
        """All parameters, without the padding of the vocabulary."""
        vocabulary = self.vocab_size * self.hidden_size * (1 if self.tied_embeddings else 2)
        return self.num_hidden_layers * self.layer_parameters + vocabulary + self.norm_parameters


def published_sizes(folder_name: str) -> ModelSizes:
    """The sizes of a well-known model, by the name of its folder, such as `Llama-2-7b-hf`.

    Raises:
        InputError: the name is not one of those in published_models.yaml.
    """
    records = _published()
    for name, record in records.items():
        if name in folder_name.lower():
            return ModelSizes.of(config_from_hf(record, f"published_models.yaml: {name}"))
    raise InputError(
        f"the sizes of {folder_name!r} are not known here; give its config.json with --model-config "
        f"(known by name: {', '.join(records)})"
    )


@cache
def _published() -> dict[str, dict[str, Any]]:
    return yaml.safe_load((resources.files(__package__) / "published_models.yaml").read_text(encoding="utf-8"))
