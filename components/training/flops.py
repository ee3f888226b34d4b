"""Model FLOPs of a training step, and the peaks they are compared with.

Model FLOPs utilisation (MFU; Chowdhery et al. 2022, "PaLM", appendix B) is the share of the hardware's peak that goes
into the arithmetic that the model needs. What recomputation adds is not counted: it is a cost, not an achievement.
"""

from __future__ import annotations

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


def parameter_flops(num_parameters: int) -> float:
    """FLOPs per token in the weights: 6 N, a multiplication and an addition in one forward and two backward products.

    N is all parameters, as published figures count; looking up an embedding multiplies nothing, so for Llama-2-7B
    this is 2% too many.
    """
    return 6.0 * num_parameters


def attention_flops(num_layers: int, attention_width: int, sequence_length: int) -> float:
    """FLOPs per token between queries, keys and values: 12 · layers · heads · head_dim · sequence_length (PaLM).

    Two products of 2 · heads · head_dim · sequence_length, three times (forward, and twice backward). As in the
    published figures no mask makes it less: neither the causal one nor a window.

    Args:
        attention_width: heads · head_dim.
    """
    return 12.0 * num_layers * attention_width * sequence_length
