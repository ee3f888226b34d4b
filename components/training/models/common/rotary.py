"""Rotary position embedding (Su et al. 2021), in the half-split form of Hugging Face weights."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from components.training.models.common.config import RopeConfig


def inverse_frequencies(rope: RopeConfig, head_dim: int) -> Tensor:
    """Angle per position of each of the head_dim / 2 rotation planes: [head_dim / 2] float32, in radians."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim
    frequencies = 1.0 / rope.theta**exponents
    if rope.type == "linear":
        return frequencies / rope.factor
    if rope.type == "llama3":
        return _blend_by_wavelength(frequencies, rope)
    return frequencies


def _blend_by_wavelength(frequencies: Tensor, rope: RopeConfig) -> Tensor:
    """Llama 3.1: keep short wavelengths, stretch long ones by `factor`, and blend linearly in between."""
    wavelengths = 2 * math.pi / frequencies
    turns = rope.original_max_position_embeddings / wavelengths
    keep = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
    keep = keep.clamp(0.0, 1.0)
    return keep * frequencies + (1 - keep) * frequencies / rope.factor


@lru_cache(maxsize=4)
def rotary_table(
    rope: RopeConfig, head_dim: int, length: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each [length, 1, 1, head_dim], shared by all layers of a stage.

    Angles are computed in float32 whatever the model's type: bfloat16 can't count beyond 256.
    """
    angles = torch.outer(torch.arange(length, dtype=torch.float32), inverse_frequencies(rope, head_dim))
    angles = torch.cat([angles, angles], dim=-1)[:, None, None, :]
    return angles.cos().to(device, dtype), angles.sin().to(device, dtype)


def at_positions(table: tuple[Tensor, Tensor], positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each [sequence, batch, 1, head_dim], of the given positions [batch, sequence]."""
    cos, sin = table
    return cos[positions.t(), 0], sin[positions.t(), 0]


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each (x[i], x[i + head_dim / 2]) pair of `x` [sequence, batch, heads, head_dim] by its angle."""
    cos, sin = table
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin
