"""A quantized model that stays packed while it runs, in a quarter of the memory of its unpacked weights."""

from __future__ import annotations

from pathlib import Path
from types import MethodType

import torch
from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor
from compressed_tensors.quantization.utils import is_module_quantized
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, PreTrainedModel

from components.platform.quiet import stderr_only_on_failure

PARTS = ("weight_packed", "weight_scale", "weight_zero_point", "weight_shape")


def load_packed(folder: Path) -> PreTrainedModel:
    """A compressed-tensors model, each of whose layers unpacks its weights for the time it takes to use them."""
    with stderr_only_on_failure():
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype="auto", use_safetensors=True, trust_remote_code=False
        ).eval()
    model.ct_decompress_hook.remove()  # it would unpack all layers at once, and for good
    for module in model.modules():
        if is_module_quantized(module):
            module.forward = MethodType(_forward, module)
    return model


def _forward(layer: torch.nn.Linear, inputs: torch.Tensor) -> torch.Tensor:
    packed = {name: getattr(layer, name) for name in PARTS}
    weight = PackedQuantizationCompressor.decompress(packed, layer.quantization_scheme)["weight"]
    return F.linear(inputs, weight, layer.bias)
