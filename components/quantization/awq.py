"""Int4 weights with llm-compressor: AWQ, and round-to-nearest to compare it with."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

# Read when llm-compressor is imported; otherwise it reports at length what Progress tells in a line.
os.environ.setdefault("LLM_COMPRESSOR_LOG_LEVEL", "ERROR")

import torch
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.utils import patch_attr
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import QuantizationModifier
from llmcompressor.modifiers.transform.awq import AWQModifier
from llmcompressor.pipelines.cache import IntermediatesCache
from pydantic import PrivateAttr
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from components.platform.progress import Progress
from components.platform.quiet import stderr_only_on_failure

logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)  # a deprecation that llm-compressor must heed
if not torch.accelerator.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # where DeepSpeed is installed it would warn that it guesses so

SHARD_SIZE = "5GB"  # several files of a large model can be moved side by side


def load_model(folder: Path) -> PreTrainedModel:
    """A Hugging Face model in the precision it was saved in."""
    with stderr_only_on_failure():
        return AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()


def quantize_with_awq(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, samples: Sequence[torch.Tensor], group_size: int
) -> None:
    """Quantize `model` in place, scaling the channels first that matter most on `samples` (AWQ, section 3.2).

    `samples` are token ids, each of shape [tokens]. With an accelerator the layers visit it one after the other.
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
            )


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
    """AWQ that counts the layers it has finished; the model's head, which comes last, is not one."""

    _progress: Progress = PrivateAttr()

    def on_sequential_epoch_end(self, *args: object, **kwargs: object) -> None:
        super().on_sequential_epoch_end(*args, **kwargs)
        if self._progress.done < self._progress.total:
            self._progress.update(1)


@contextmanager
def _pinning_only_for_accelerators() -> Iterator[None]:
    """Without an accelerator there is no pinned memory, and llm-compressor 0.14 would fail asking for it."""
    if torch.accelerator.is_available():
        yield
        return
    with patch_attr(IntermediatesCache, "pin_memory", lambda *_: None):
        yield
