"""Settings of the quantization stage, and the check that they fit the model."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, PositiveInt

from components.platform.errors import InputError, SettingsError
from components.platform.settings import Settings


class QuantizationSettings(Settings):
    """AWQ (Lin et al., 2023, arXiv 2306.00978) with 4-bit asymmetric weights and 16-bit activations."""

    group_size: PositiveInt = Field(
        default=128, description="neighbouring input weights that share a scale and a zero point (AWQ, section 5.1)"
    )
    groups: tuple[str, ...] = Field(
        default=("guidelines", "papers", "abstracts"),
        min_length=1,
        description="corpus groups the documents come from, evenly; in-domain text calibrates best",
    )
    calibration_documents: PositiveInt = Field(
        default=128, description="training documents that show AWQ which channels matter"
    )
    validation_documents: PositiveInt = Field(
        default=64, description="validation documents on which fidelity to the unquantized model is measured"
    )
    sequence_length: int = Field(default=512, ge=2, description="tokens used of each document, at most")
    seed: int = Field(default=0, description="which documents are drawn")


def check_model(settings: QuantizationSettings, folder: Path) -> None:
    """See from its config alone whether a Hugging Face model can be quantized as the settings say.

    Raises:
        InputError: the folder holds no model, or one that is quantized already.
        SettingsError: `group_size` or `sequence_length` doesn't fit the model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if not (folder / "config.json").is_file():
        raise InputError(f"{folder / 'config.json'}: missing; expected a Hugging Face model folder")
    config = AutoConfig.from_pretrained(folder)
    if getattr(config, "quantization_config", None) is not None:
        raise InputError(f"{folder / 'config.json'}: the model is quantized already; give the stage the original")
    if settings.sequence_length > config.max_position_embeddings:
        raise SettingsError(
            f"quantization.sequence_length: {settings.sequence_length} is more than the model's "
            f"{config.max_position_embeddings} positions; lower it"
        )
    with torch.device("meta"):  # shapes without weights
        model = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    widths = {m.in_features for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head}
    misfits = sorted(width for width in widths if width % settings.group_size)
    if misfits:
        fitting = [size for size in (32, 64, 128) if not any(width % size for width in widths)]
        remedy = f"use {' or '.join(map(str, fitting))}" if fitting else "no group size of 32, 64 or 128 fits"
        raise SettingsError(
            f"quantization.group_size: {settings.group_size} doesn't divide the model's layer inputs of "
            f"{', '.join(map(str, misfits))}; {remedy}"
        )
