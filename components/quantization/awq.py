"""Int4 weights with llm-compressor: AWQ, and round-to-nearest to compare it with."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Read when llm-compressor is imported; otherwise it reports at length what Progress tells in a line.
os.environ.setdefault("LLM_COMPRESSOR_LOG_LEVEL", "ERROR")

import torch
from compressed_tensors.offload import load_offloaded_model
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.utils import patch_attr
from llmcompressor import oneshot
from llmcompressor.core import create_session
from llmcompressor.modifiers.quantization import QuantizationModifier
from llmcompressor.modifiers.transform.awq import AWQModifier
from llmcompressor.pipelines.cache import IntermediatesCache
from pydantic import PrivateAttr
from torch.fx import _symbolic_trace
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from components.platform.progress import Progress
from components.platform.quiet import stderr_only_on_failure

logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)  # a deprecation that llm-compressor must heed

if not torch.accelerator.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # where DeepSpeed is installed it would warn that it guesses so

SHARD_SIZE = "5GB"  # several files of a large model can be moved side by side


@dataclass(frozen=True)
class LayerError:
    """What AWQ's scaling did for the layers behind one normalization or projection.

    Attributes:
        layer: the module whose output channels were scaled.
        rounding: mean squared error of what follows it on the calibration samples, rounded to nearest.
        awq: the same with the best scaling found.
    """

    layer: str
    rounding: float
    awq: float


@contextmanager
def nothing_kept() -> Iterator[None]:
    """At the end nothing but the caller holds a model: not llm-compressor's session, nor functions left in torch.fx."""
    with create_session(), patch_attr(_symbolic_trace, "_wrapped_fns_to_patch", {}):
        yield


def load_model(folder: Path, offload_folder: Path | None = None, memory: int | None = None) -> PreTrainedModel:
    """A Hugging Face model in the precision it was saved in.

    Args:
        offload_folder: where the part lies that `memory` is too small for, until a layer is needed.
        memory: bytes of main memory for weights; None: the whole model is held there.
    """
    with ExitStack() as stack:
        stack.enter_context(stderr_only_on_failure())
        placement: dict[str, Any] = {}
        if memory is not None:
            stack.enter_context(load_offloaded_model())
            limits = {"cpu": memory}
            placement = {"device_map": "auto_offload", "max_memory": limits, "offload_folder": offload_folder}
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype="auto", use_safetensors=True, trust_remote_code=False, **placement
        ).eval()


def quantize_with_awq(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, samples: Sequence[torch.Tensor], group_size: int
) -> list[LayerError]:
    """Quantize `model` in place, scaling the channels first that matter most on `samples` (AWQ, section 3.2).

    `samples` are token ids, each of shape [tokens]. Layer by layer: only the one at work is on the accelerator,
    wherever the others are.
    """
    batches = [{"input_ids": ids[None], "attention_mask": torch.ones_like(ids[None])} for ids in samples]
    with Progress("awq", model.config.num_hidden_layers, "layers") as progress:
        modifier = _ReportingAWQModifier()
        modifier._progress = progress
        with stderr_only_on_failure(), _pinning_only_for_accelerators():
            oneshot(
                model=model,
                processor=tokenizer,
                dataset=DataLoader(batches, batch_size=None),
                recipe=[modifier, _round_to_nearest_modifier(group_size)],
                pipeline="sequential",
            )
    return modifier._errors


def quantize_by_rounding(model: PreTrainedModel, group_size: int) -> None:
    """Quantize `model` in place to the nearest int4 values: the same format as AWQ's, without its scaling."""
    with stderr_only_on_failure():
        oneshot(model=model, recipe=[_round_to_nearest_modifier(group_size)])


def save_compressed(model: PreTrainedModel, folder: Path) -> None:
    """Write a quantized model in the compressed-tensors format, which transformers and vLLM load as is."""
    with stderr_only_on_failure():
        model.save_pretrained(folder, save_compressed=True, max_shard_size=SHARD_SIZE)


def _round_to_nearest_modifier(group_size: int) -> QuantizationModifier:
    weights = QuantizationArgs(num_bits=4, type="int", symmetric=False, strategy="group", group_size=group_size)
    scheme = QuantizationScheme(targets=["Linear"], weights=weights)  # W4A16_ASYM with our group size
    return QuantizationModifier(config_groups={"linear": scheme}, ignore=["lm_head"])


class _ReportingAWQModifier(AWQModifier):
    """AWQ that counts the layers it has finished and keeps the errors it found."""

    _progress: Progress = PrivateAttr()
    _errors: list[LayerError] = PrivateAttr(default_factory=list)

    def on_sequential_epoch_end(self, *args: Any, **kwargs: Any) -> None:
        super().on_sequential_epoch_end(*args, **kwargs)
        if self._progress.done < self._progress.total:  # the model's head, which comes last, is not one
            self._progress.update(1)

    def on_finalize(self, *args: Any, **kwargs: Any) -> bool:
        found = self._error_metrics
        self._errors = [LayerError(row["layer_name"], row["initial_error"], row["best_error"]) for row in found]
        return super().on_finalize(*args, **kwargs)


@contextmanager
def _pinning_only_for_accelerators() -> Iterator[None]:
    """Without an accelerator there is no pinned memory, and llm-compressor 0.14 would fail asking for it."""
    if torch.accelerator.is_available():
        yield
        return
    with patch_attr(IntermediatesCache, "pin_memory", lambda *_: None):
        yield
