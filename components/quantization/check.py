"""See whether a model can be quantized before any of its weights is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from components.platform.errors import InputError, SettingsError
from components.platform.weights import check_whole
from components.quantization.gemm import COLUMNS_PER_WORD
from components.quantization.settings import ModelSettings

GROUP_SIZES = (32, 64, 128)


def check_model(settings: ModelSettings, folder: Path) -> None:
    """See from a Hugging Face folder's config and file names whether it can be quantized as the settings say.

    Raises:
        InputError: the folder is incomplete, or its model is quantized already.
        SettingsError: `group_size`, `formats` or `sequence_length` doesn't fit the model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    _check_files(folder)
    check_whole(folder)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
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
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    widths = {layer.in_features for layer in layers}
    if misfits := [width for width in widths if width % settings.group_size]:
        fitting = [size for size in GROUP_SIZES if not any(width % size for width in widths)]
        remedy = f"use {' or '.join(map(str, fitting))}" if fitting else "no group size of 32, 64 or 128 fits"
        raise SettingsError(
            f"quantization.group_size: {settings.group_size} doesn't divide the model's layer inputs of "
            f"{_listed(misfits)}; {remedy}"
        )
    heights = {layer.out_features for layer in layers}
    if "gemm" in settings.formats and (misfits := [height for height in heights if height % COLUMNS_PER_WORD]):
        raise SettingsError(
            f"quantization.formats: gemm packs {COLUMNS_PER_WORD} outputs in a word, and the model's layers have "
            f"{_listed(misfits)}; leave it out"
        )


def _check_files(folder: Path) -> None:
    for name in ("config.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: missing; expected a whole Hugging Face folder: model and tokenizer")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise InputError(f"{folder / 'tokenizer.json'}: missing; expected a whole Hugging Face folder")


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
