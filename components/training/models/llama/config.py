"""The shape of a Llama model, read from a Hugging Face `config.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.platform.errors import InputError
from components.training.parallel.layout import ParallelLayout

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
class LlamaConfig:
    """Sizes of a Llama model, under their Hugging Face names."""

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

    @classmethod
    def from_hf(cls, record: Mapping[str, Any], origin: str) -> LlamaConfig:
        """Read the content of a `config.json`; `origin` is where it came from, for messages.

        Raises:
            InputError: not a Llama, or a Llama feature that is not supported.
        """
        _refuse_unsupported(record, origin)
        try:
            heads = record["num_attention_heads"]
            return cls(
                vocab_size=record["vocab_size"],
                hidden_size=record["hidden_size"],
                intermediate_size=record["intermediate_size"],
                num_hidden_layers=record["num_hidden_layers"],
                num_attention_heads=heads,
                num_key_value_heads=record.get("num_key_value_heads") or heads,
                head_dim=record.get("head_dim") or record["hidden_size"] // heads,
                rms_norm_eps=record.get("rms_norm_eps", 1e-6),
                max_position_embeddings=record.get("max_position_embeddings", 2048),
                rope=_rope(record, origin),
            )
        except KeyError as error:
            raise InputError(f"{origin}: the key {error} is missing from this model configuration") from None

    @classmethod
    def read(cls, folder: Path) -> LlamaConfig:
        """Read `config.json` of a Hugging Face model folder."""
        return cls.from_hf(read_config(folder), str(folder / "config.json"))

    def with_vocab_size(self, vocab_size: int) -> LlamaConfig:
        return replace(self, vocab_size=vocab_size)

    def problems(self, layout: ParallelLayout, sequence_length: int) -> list[str]:
        """Why this model can't be trained in this layout at this sequence length; empty when it can."""
        problems = [
            f"{name} {value} is not divisible by tensor_parallel_size {layout.tensor_parallel_size}; "
            f"choose a tensor_parallel_size that divides it"
            for name, value in (
                ("num_attention_heads", self.num_attention_heads),
                ("num_key_value_heads", self.num_key_value_heads),
                ("intermediate_size", self.intermediate_size),
                ("sequence_length", sequence_length),
            )
            if value % layout.tensor_parallel_size
        ]
        if self.num_attention_heads % self.num_key_value_heads:
            problems.append(
                f"num_attention_heads {self.num_attention_heads} is not a multiple of num_key_value_heads "
                f"{self.num_key_value_heads}: each key/value head serves the same number of query heads"
            )
        if self.num_hidden_layers < layout.pipeline_parallel_size:
            problems.append(
                f"pipeline_parallel_size {layout.pipeline_parallel_size} is more than num_hidden_layers "
                f"{self.num_hidden_layers}: each stage needs at least one layer"
            )
        if sequence_length > self.max_position_embeddings:
            problems.append(
                f"sequence_length {sequence_length} is more than the model's max_position_embeddings "
                f"{self.max_position_embeddings}"
            )
        return problems


def read_config(folder: Path) -> dict[str, Any]:
    """The raw `config.json` of a Hugging Face model folder.

    Raises:
        InputError: there is none, or it is not JSON.
    """
    path = folder / "config.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: missing; expected a Hugging Face model folder") from None
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None


def _refuse_unsupported(record: Mapping[str, Any], origin: str) -> None:
    if record.get("model_type") != "llama":
        raise InputError(f"{origin}: model_type is {record.get('model_type')!r}; only 'llama' models can be trained")
    expected = {
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
    }
    for key, value in expected.items():
        if record.get(key, value) != value:
            raise InputError(f"{origin}: {key} is {record[key]!r}; only {value!r} is supported")


def _rope(record: Mapping[str, Any], origin: str) -> RopeConfig:
    """Rotary settings from `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before)."""
    scaling = record.get("rope_parameters") or record.get("rope_scaling") or {}
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    if kind not in ROPE_TYPES:
        raise InputError(f"{origin}: rope type {kind!r}; supported are {', '.join(ROPE_TYPES)}")
    names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    return RopeConfig(
        theta=scaling.get("rope_theta", record.get("rope_theta", 10000.0)),
        type=kind,
        **{name: scaling[name] for name in names if name in scaling},
    )
