"""Whether a Hugging Face folder holds the weights that its configuration promises; only headers are read."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist

from components.platform.errors import InputError
from components.platform.weights import WeightFiles
from components.training.convert import stored_name
from components.training.models.common.config import ModelConfig


def check_tensors(folder: Path, config: ModelConfig) -> None:
    """Look for every tensor of a model, as `config`, read from the same folder, describes it.

    Raises:
        InputError: one is missing or has another shape.
    """
    with WeightFiles(folder) as files:
        for name, expected in _shapes(config).items():
            found = files.shape(stored_name(files, name, config))
            if found != expected:
                raise InputError(
                    f"{folder}: {name} is {found}, but config.json implies {expected}; "
                    "config.json and weights must be of one model"
                )


def _shapes(config: ModelConfig) -> dict[str, list[int]]:
    """Shape of each tensor of the whole model, from modules that take no memory."""
    with torch.device("meta"):
        return {
            layer.weights_prefix + name: list(parameter.shape)
            for layer in config.plan_layers(dist.ProcessGroup(0, 1))
            for name, parameter in layer.module(*layer.arguments).named_parameters()
        }
