"""Quantize a model with AWQ, calibrated on corpus and conversations, and measure what it cost."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.platform.context import PlatformSettings
from components.platform.errors import InputError
from components.platform.manifest import REPORT_NAME, Manifest
from components.platform.predecessor import as_inputs, corpora_before
from components.platform.stage import produce
from components.platform.storage import join, write_atomically
from components.quantization import gate
from components.quantization.check import check_model
from components.quantization.conversations import source_files
from components.quantization.gemm import write_gemm
from components.quantization.page import page
from components.quantization.settings import ModelSettings, QuantizationSettings

QUALITY, LAYERS = "quality.json", "layers.json"
MODEL, GEMM = "model", "model-gemm"
WORK = ".work"


def run(settings: QuantizationSettings, platform: PlatformSettings, model: Manifest, corpus: Manifest) -> Manifest:
    """Write `model/`, `model-gemm/`, `quality.json`, `layers.json` and `report.html` as an artifact of kind "awq".

    The gate is no part of what the artifact is: a model that fails it stays in the folder, unfinished, and is found
    there when the recipe allows more.

    Raises:
        SettingsError: the settings don't fit the model or the corpus.
        InputError: model, corpus or benchmarks can't be used, or quantization gave a model that is not usable.
        QualityError: the quantized model is less faithful than the gate allows.
    """
    of_model = settings.of_model()

    def work(folder: Path) -> dict[str, Any]:
        if not (folder / QUALITY).exists():
            quantize(of_model, platform, model.local() / "model", corpus, folder)
        quality = json.loads((folder / QUALITY).read_text(encoding="utf-8"))
        layers = json.loads((folder / LAYERS).read_text(encoding="utf-8"))
        write_atomically(folder / REPORT_NAME, page(settings, quality, layers).html())
        gate.check(settings.gate, quality, str(folder / REPORT_NAME))
        return quality

    inputs = {"model": model, "corpus": corpus, **as_inputs(corpora_before(corpus))}
    manifest = produce("awq", of_model, inputs, platform, work, source_files(of_model, platform))
    gate.check(settings.gate, manifest.metadata, join(manifest.uri, REPORT_NAME))
    return manifest


def quantize(settings: ModelSettings, platform: PlatformSettings, source: Path, corpus: Manifest, folder: Path) -> None:
    """Quantize the model in `source` into `folder`, and say in `quality.json` how good it is.

    What an interrupted call finished there is not done again: the original's logits and rounding, AWQ, and gemm.
    No two models are in memory at a time.

    Raises:
        SettingsError: the settings don't fit the model or the corpus.
        InputError: model, corpus or benchmarks can't be used, or the quantized model is not usable.
    """
    # Imported here: torch, transformers and llm-compressor take seconds that a reused result need not wait for.
    from transformers import AutoTokenizer

    from components.quantization import steps
    from components.quantization.conversations import draw_conversations
    from components.quantization.documents import draw_documents

    check_model(settings, source)
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    calibration = draw_documents(settings, corpus, "train", settings.calibration_documents, tokenizer)
    calibration += draw_conversations(settings, platform, tokenizer)
    validation = draw_documents(settings, corpus, "validation", settings.validation_documents, tokenizer)

    work = folder / WORK
    before = steps.measure_rounding(source, validation, settings.group_size, work)

    def awq(partial: Path) -> None:
        steps.awq(source, tokenizer, calibration, settings.group_size, partial, work, layers=folder / LAYERS)
        copy_companions(source, partial)

    def gemm(partial: Path) -> None:
        write_gemm(folder / MODEL, partial, settings.group_size)
        copy_companions(source, partial)

    _fill(folder / MODEL, awq)
    if "gemm" in settings.formats:
        _fill(folder / GEMM, gemm)

    after = steps.measure(folder / MODEL, validation, work, "awq")
    if not math.isfinite(after.kl_per_token):
        raise InputError(f"{source}: the output of the quantized model is not finite; check the original's weights")
    quality = {
        "bytes_before": weight_bytes(source),
        "bytes_after": weight_bytes(folder / MODEL),
    }
    if "gemm" in settings.formats:
        quality["bytes_gemm"] = weight_bytes(folder / GEMM)
    quality |= {
        "kl_per_token": after.kl_per_token,
        "top1_agreement": after.top1_agreement,
        "perplexity_after": after.perplexity,
        **before,
        "calibration_tokens": sum(map(len, calibration)),
        "validation_tokens": sum(map(len, validation)),
    }
    write_atomically(folder / QUALITY, json.dumps(quality, indent=1))
    shutil.rmtree(work)


def _fill(target: Path, write: Callable[[Path], None]) -> None:
    """Write a folder that is there as a whole or not at all; one that is there is left as it is."""
    if target.exists():
        return
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    write(partial)
    os.replace(partial, target)


def copy_companions(source: Path, target: Path) -> None:
    """Copy what stands beside the weights as it is: tokenizer, chat template, generation config."""
    for path in source.iterdir():
        if path.is_file() and path.name != "config.json" and ".safetensors" not in path.name:
            shutil.copyfile(path, target / path.name)


def weight_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
