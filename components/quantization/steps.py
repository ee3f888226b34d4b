"""The steps of quantization that each hold one model in memory, and let go of it at their end."""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from components.platform.storage import write_atomically
from components.quantization.awq import (
    load_model,
    nothing_kept,
    quantize_by_rounding,
    quantize_with_awq,
    save_compressed,
)
from components.quantization.fidelity import Fidelity, compare, load_each, logits, save_each
from components.quantization.memory import memory_for_weights
from components.quantization.packed import load_packed

LOGITS = "logits"


def measure_rounding(source: Path, samples: Sequence[torch.Tensor], group_size: int, work: Path) -> dict[str, float]:
    """Keep the original's logits on `samples` in `work`, and see how far rounding its weights to nearest is off.

    Returns:
        `perplexity_before` and, of the rounded model, `rounding_kl_per_token`, `rounding_top1_agreement` and
        `rounding_perplexity`.
    """
    figures, rounded = work / "rounding.json", work / "rounded"
    if not figures.exists():
        with nothing_kept():
            model = _load(source, work)
            save_each(logits(model, samples, "original"), work / LOGITS)
            quantize_by_rounding(model, group_size)
            save_compressed(model, rounded)
            del model
        unchanged = compare(load_each(work / LOGITS), load_each(work / LOGITS), samples)
        found = asdict(measure(rounded, samples, work, "round-to-nearest"))
        found = {"perplexity_before": unchanged.perplexity} | {f"rounding_{name}": found[name] for name in found}
        write_atomically(figures, json.dumps(found))
        shutil.rmtree(rounded)
    return json.loads(figures.read_text(encoding="utf-8"))


def awq(
    source: Path,
    tokenizer: PreTrainedTokenizerBase,
    samples: Sequence[torch.Tensor],
    group_size: int,
    target: Path,
    work: Path,
    layers: Path,
) -> None:
    """Write the model in `source`, quantized with AWQ, to `target`, and the errors of its layers to `layers`."""
    with nothing_kept():
        model = _load(source, work)
        errors = quantize_with_awq(model, tokenizer, samples, group_size)
        save_compressed(model, target)
    write_atomically(layers, json.dumps([asdict(error) for error in errors], indent=1))


def measure(quantized: Path, samples: Sequence[torch.Tensor], work: Path, label: str) -> Fidelity:
    """Compare a compressed-tensors model with the logits that `measure_rounding` kept.

    As it was saved, not as it was in memory: there, weights that were offloaded would be used unquantized.
    """
    _make_room()
    return compare(load_each(work / LOGITS), logits(load_packed(quantized), samples, label), samples)


def _load(source: Path, work: Path) -> PreTrainedModel:
    """The original, as much of it in memory as fits."""
    offloaded = work / "offloaded"
    shutil.rmtree(offloaded, ignore_errors=True)
    offloaded.mkdir(parents=True)
    _make_room()
    return load_model(source, offloaded, memory_for_weights())


def _make_room() -> None:
    """Let go of the step before's model for good: it is still there, in reference cycles and an allocator's cache."""
    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()
