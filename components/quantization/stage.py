"""Quantize a model with AWQ, calibrated on the corpus, and measure what it cost."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

from components.platform.context import PlatformSettings
from components.platform.errors import InputError
from components.platform.manifest import REPORT_NAME, Manifest
from components.platform.stage import produce
from components.platform.storage import write_atomically
from components.quantization.page import page
from components.quantization.settings import QuantizationSettings, check_model


def run(settings: QuantizationSettings, platform: PlatformSettings, model: Manifest, corpus: Manifest) -> Manifest:
    """Write `model/` (compressed-tensors), `quality.json` and `report.html` as an artifact of kind "awq".

    Raises:
        SettingsError: the settings don't fit the model or the corpus.
        InputError: the model or the corpus can't be used, or quantization gave a model that is not usable.
    """

    def work(folder: Path) -> dict[str, Any]:
        source = model.local() / "model"
        check_model(settings, source)
        quality = quantize(settings, source, corpus, folder / "model")
        write_atomically(folder / "quality.json", json.dumps(quality, indent=1))
        write_atomically(folder / REPORT_NAME, page(settings, quality).html())
        return quality

    return produce("awq", settings, {"model": model, "corpus": corpus}, platform, work)


def quantize(settings: QuantizationSettings, source: Path, corpus: Manifest, target: Path) -> dict[str, Any]:
    """Quantize the model in `source` into `target`; return what `quality.json` says."""
    # Imported here: torch, transformers and llm-compressor take seconds that a reused result need not wait for.
    from transformers import AutoTokenizer

    from components.quantization.awq import load_model, quantize_by_rounding, quantize_with_awq, save_compressed
    from components.quantization.fidelity import compare, log_probabilities
    from components.quantization.samples import draw_samples

    tokenizer = AutoTokenizer.from_pretrained(source)
    calibration = draw_samples(settings, corpus, "train", settings.calibration_documents, tokenizer)
    validation = draw_samples(settings, corpus, "validation", settings.validation_documents, tokenizer)

    model = load_model(source)
    original = list(log_probabilities(model, validation))
    unchanged = compare(original, original, validation)
    quantize_by_rounding(model, settings.group_size)
    rounded = compare(original, log_probabilities(model, validation), validation)

    model = load_model(source)
    quantize_with_awq(model, tokenizer, calibration, settings.group_size)
    quantized = compare(original, log_probabilities(model, validation), validation)
    if not math.isfinite(quantized.kl_per_token):
        raise InputError(f"{source}: the output of the quantized model is not finite; check the original's weights")

    partial = target.with_name(".model.partial")
    shutil.rmtree(partial, ignore_errors=True)
    save_compressed(model, partial)
    copy_companions(source, partial)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)
    return {
        "bytes_before": weight_bytes(source),
        "bytes_after": weight_bytes(target),
        "kl_per_token": quantized.kl_per_token,
        "top1_agreement": quantized.top1_agreement,
        "perplexity_before": unchanged.perplexity,
        "perplexity_after": quantized.perplexity,
        "rounding_kl_per_token": rounded.kl_per_token,
        "rounding_top1_agreement": rounded.top1_agreement,
        "rounding_perplexity": rounded.perplexity,
        "calibration_tokens": sum(map(len, calibration)),
        "validation_tokens": sum(map(len, validation)),
    }


def copy_companions(source: Path, target: Path) -> None:
    """Copy what stands beside the weights as it is: tokenizer, chat template, generation config."""
    for path in source.iterdir():
        if path.is_file() and path.name != "config.json" and ".safetensors" not in path.name:
            shutil.copyfile(path, target / path.name)


def weight_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
