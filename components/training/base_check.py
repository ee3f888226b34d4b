"""Whether a Hugging Face folder holds the weights that its configuration promises; only headers are read."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open

from components.platform.errors import InputError
from components.platform.weights import INDEX_NAME, SINGLE_NAME, WeightFiles, indexed_files
from components.training.convert import stored_name
from components.training.models.common.config import ModelConfig


def check_weights(folder: Path, config: ModelConfig) -> None:
    """Look for every file and tensor of a model, as `config`, read from the same folder, describes it.

    Raises:
        InputError: a file is missing or cut short, or a tensor is missing or has another shape.
    """
    single = [SINGLE_NAME] if (folder / SINGLE_NAME).is_file() else []
    for name in indexed_files(folder) or single:
        try:
            with safe_open(folder / name, framework="pt"):
                pass
        except FileNotFoundError:
            raise InputError(f"{folder / name}: missing, but {INDEX_NAME} lists it; fetch the model again") from None
        except SafetensorError as error:
            raise InputError(f"{folder / name}: damaged or cut short ({error}); fetch the model again") from None
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
