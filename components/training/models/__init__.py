"""Model families. Each folder holds one: its configuration, weight names and modules; `common/` what they share.

To add a family: a configuration with the methods of `ModelConfig`, its modules, and a line in `FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.platform.errors import InputError
from components.platform.model_folder import CONFIG_NAME, read_object
from components.training.models.common.config import ModelConfig
from components.training.models.falcon.config import FalconConfig
from components.training.models.llama.config import LlamaConfig
from components.training.models.mistral.config import MistralConfig

FAMILIES: dict[str, type[ModelConfig]] = {"falcon": FalconConfig, "llama": LlamaConfig, "mistral": MistralConfig}


def read_config(folder: Path) -> ModelConfig:
    """The configuration of a Hugging Face model folder, of the family that its `model_type` names.

    Raises:
        InputError: no `config.json`, an unknown family, or a feature that is not supported.
    """
    return config_from_hf(read_object(folder / CONFIG_NAME), str(folder / CONFIG_NAME))


def config_from_hf(record: Mapping[str, Any], origin: str) -> ModelConfig:
    """The content of a `config.json` as the configuration of its family; `origin` is where it came from, for messages.

    Raises:
        InputError: an unknown family, or a feature that is not supported.
    """
    family = FAMILIES.get(record.get("model_type"))
    if family is None:
        supported = ", ".join(FAMILIES)
        raise InputError(f"{origin}: model_type is {record.get('model_type')!r}; supported are {supported}")
    return family.from_hf(record, origin)
