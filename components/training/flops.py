"""Model FLOPs of a training step, and the peaks they are compared with.

Model FLOPs utilisation (MFU; Chowdhery et al. 2022, "PaLM", appendix B) is the share of the hardware's peak that goes
into the arithmetic that the model needs. What recomputation adds is not counted: it is a cost, not an achievement.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import nn

from components.training.models.common.config import ModelConfig
from components.training.process import Process

# Dense bfloat16 FLOP/s on tensor cores, from NVIDIA's data sheets (they print the sparse figure, twice as high, for
# Hopper). The first entry whose words all occur in the device's name holds, so variants come before their family.
PEAK_FLOPS: tuple[tuple[tuple[str, ...], float], ...] = (
    (("H100", "PCIe"), 756e12),
    (("H100", "NVL"), 835e12),
    (("H100",), 989e12),
    (("H200", "NVL"), 835e12),
    (("H200",), 989e12),
    (("A100",), 312e12),
)


def peak_flops(device_name: str) -> float | None:
    """FLOP/s of one GPU in dense bfloat16, by its name as CUDA reports it; None for a GPU that is not listed."""
    return next((peak for words, peak in PEAK_FLOPS if all(word in device_name for word in words)), None)


def device_peak_flops(device: torch.device, dtype: str) -> float | None:
    """The peak that a run on `device` is compared with; None where none is known: on a CPU, and in float32."""
    if device.type != "cuda" or dtype != "bf16":
        return None
    return peak_flops(torch.cuda.get_device_name(device))


def parameter_flops(num_parameters: int) -> float:
    """FLOPs per token in the weights: 6 N, a multiplication and an addition in one forward and two backward products.

    N is all parameters, as published figures count; looking up an embedding multiplies nothing, so for Llama-2-7B
    this is 2% too many.
    """
    return 6.0 * num_parameters


def attention_flops(config: ModelConfig, sequence_length: int) -> float:
    """FLOPs per token between queries, keys and values: 12 · layers · heads · head_dim · sequence_length (PaLM).

    Two products of 2 · heads · head_dim · sequence_length, three times (forward, and twice backward). As in the
    published figures no mask makes it less: neither the causal one nor a window.
    """
    width = config.num_attention_heads * config.head_dim
    return 12.0 * config.num_hidden_layers * width * sequence_length


def count_parameters(parameters: Mapping[str, nn.Parameter], config: ModelConfig, process: Process) -> int:
    """Parameters of the whole model (vocabulary padding included); every rank must call it.

    Args:
        parameters: this rank's slices, with `partition_dim` on those that are split over the tensor group.
    """
    layout = process.layout
    # The last stage's head may be a copy of the first stage's embedding.
    copies = config.weight_names.vocabulary if config.tie_word_embeddings and not layout.is_first_stage else ()
    own = sum(
        parameter.numel()
        for name, parameter in parameters.items()
        if name not in copies and (layout.tensor_rank == 0 or hasattr(parameter, "partition_dim"))
    )
    count = torch.tensor(own if layout.data_rank == 0 else 0, dtype=torch.int64, device=process.device)
    dist.all_reduce(count)
    return int(count)
