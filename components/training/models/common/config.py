"""What every family's configuration is made of, and what the rest of the training code knows of a model.

Nothing here imports torch: recipes are checked before anything heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

from components.platform.errors import InputError
from components.training.parallel.layout import ParallelLayout

if TYPE_CHECKING:
    import torch.distributed as dist

    from components.training.models.common.plan import PlannedLayer

ROPE_TYPES = ("default", "linear", "llama3")


@dataclass(frozen=True)
class RopeConfig:
    """Rotary position embedding: base and, for models stretched beyond their first context, the scaling.

    Attributes:
        theta: base of the wavelengths.
        type: "default", "linear" (position interpolation: Chen et al. 2023) or "llama3" (Llama 3.1).
        factor: how many times longer the context became.
        low_freq_factor, high_freq_factor: llama3: between original / high and original / low wavelengths are blended.
        original_max_position_embeddings: llama3: context length before stretching, in tokens.
    """

    theta: float = 10000.0
    type: str = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position_embeddings: int = 8192


@dataclass(frozen=True)
class WeightNames:
    """What Hugging Face puts before the parameter names of each kind of layer; `{}` is a decoder layer's number.

    The rest of a name is that of our own modules, which carry Hugging Face's names.
    """

    embedding: str
    decoder_layer: str
    final_norm: str
    head: str

    @property
    def vocabulary(self) -> frozenset[str]:
        """Full names of the tensors with one row per token."""
        return frozenset({f"{self.embedding}weight", f"{self.head}weight"})


@dataclass(frozen=True)
class LayerTraits:
    """How a family builds its decoder layer, as far as sizes, memory and communication depend on it.

    Attributes:
        gated_mlp: three matrices and a product (SwiGLU), not two.
        fused_qkv: one matrix makes queries, keys and values.
        norm: "rms" (a weight) or "layer" (a weight and a bias).
        norms: how many there are.
        gathers, scatters: all-gathers and reduce-scatters over the tensor group in a forward pass; two each, or fewer
            where attention and MLP stand side by side.
    """

    gated_mlp: bool = True
    fused_qkv: bool = False
    norm: Literal["rms", "layer"] = "rms"
    norms: int = 2
    gathers: int = 2
    scatters: int = 2

    @property
    def mlp_matrices(self) -> int:
        return 3 if self.gated_mlp else 2


class ModelConfig(Protocol):
    """What engine, conversion and stages know of a model, whatever its family."""

    weight_names: ClassVar[WeightNames]
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    tie_word_embeddings: bool

    @property
    def layer_traits(self) -> LayerTraits:
        """How its decoder layers are built."""

    @classmethod
    def from_hf(cls, record: Mapping[str, Any], origin: str) -> Self:
        """Read the content of a `config.json`; `origin` is where it came from, for messages.

        Raises:
            InputError: a key is missing, or a feature is not supported.
        """

    def with_vocab_size(self, vocab_size: int) -> Self:
        """The same model with another number of tokens."""

    def plan_layers(self, group: dist.ProcessGroup) -> list[PlannedLayer]:
        """The model as the list of layers that pipeline stages are cut from."""


def require(record: Mapping[str, Any], key: str, origin: str) -> Any:
    """The value of a key that has no default."""
    if record.get(key) is None:
        raise InputError(f"{origin}: the key '{key}' is missing from this model configuration")
    return record[key]


def refuse_unless(record: Mapping[str, Any], expected: Mapping[str, Any], origin: str) -> None:
    """Refuse features that the modules don't have; a key that is absent has the expected value."""
    for key, value in expected.items():
        if record.get(key, value) != value:
            raise InputError(f"{origin}: {key} is {record[key]!r}; only {value!r} is supported")


def rope_config(record: Mapping[str, Any], origin: str) -> RopeConfig:
    """Rotary settings from `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before)."""
    scaling = record.get("rope_parameters") or record.get("rope_scaling") or {}
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    if kind not in ROPE_TYPES:
        raise InputError(f"{origin}: rope type {kind!r}; supported are {', '.join(ROPE_TYPES)}")
    names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    return RopeConfig(
        theta=scaling.get("rope_theta", record.get("rope_theta", RopeConfig.theta)),
        type=kind,
        **{name: scaling[name] for name in names if name in scaling},
    )


def layer_matrix_parameters(config: ModelConfig) -> int:
    """Parameters in the matrices of one decoder layer, over all ranks."""
    attention = 2 * config.head_dim * (config.num_attention_heads + config.num_key_value_heads)
    return config.hidden_size * (attention + config.layer_traits.mlp_matrices * config.intermediate_size)


class DividedSizes(Protocol):
    """What a layout divides: of a model, or of one that is only planned."""

    num_attention_heads: int
    num_key_value_heads: int
    num_hidden_layers: int
    intermediate_size: int
    max_position_embeddings: int


def not_divided(sizes: DividedSizes, tensor_parallel_size: int, sequence_length: int) -> dict[str, int]:
    """What the ranks of a tensor group can't share out evenly, by name; empty when they can."""
    divided = {
        "num_attention_heads": sizes.num_attention_heads,
        "num_key_value_heads": sizes.num_key_value_heads,
        "intermediate_size": sizes.intermediate_size,
        "sequence_length": sequence_length,
    }
    return {name: size for name, size in divided.items() if size % tensor_parallel_size}


def layout_problems(sizes: DividedSizes, layout: ParallelLayout, sequence_length: int) -> list[str]:
    """Why a model can't be trained in this layout at this sequence length; empty when it can.

    A tensor-parallel rank holds whole key/value heads, so multi-query models don't split. Falcon 7B, the one there is,
    could not anyway: it has 71 query heads, a prime.
    """
    problems = [
        f"{name} {value} is not divisible by tensor_parallel_size {layout.tensor_parallel_size}; "
        f"choose a tensor_parallel_size that divides it"
        for name, value in not_divided(sizes, layout.tensor_parallel_size, sequence_length).items()
    ]
    if sizes.num_attention_heads % sizes.num_key_value_heads:
        problems.append(
            f"num_attention_heads {sizes.num_attention_heads} is not a multiple of num_key_value_heads "
            f"{sizes.num_key_value_heads}: each key/value head serves the same number of query heads"
        )
    if sizes.num_hidden_layers < layout.pipeline_parallel_size:
        problems.append(
            f"pipeline_parallel_size {layout.pipeline_parallel_size} is more than num_hidden_layers "
            f"{sizes.num_hidden_layers}: each stage needs at least one layer"
        )
    if sequence_length > sizes.max_position_embeddings:
        problems.append(
            f"sequence_length {sequence_length} is more than the model's max_position_embeddings "
            f"{sizes.max_position_embeddings}"
        )
    return problems
