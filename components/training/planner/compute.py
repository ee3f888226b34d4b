"""FLOPs and memory traffic of a training step, and the seconds they take on one GPU.

A forward pass is one unit of matrix products, the backward pass two (the gradients of inputs and of weights), so a
step without recomputation is 6 FLOPs per parameter and token (Kaplan et al. 2020, §2.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from components.training.planner.hardware import Hardware
from components.training.planner.sizes import ModelSizes

BACKWARD = 2.0  # matrix products of the backward pass, in forward passes
FLASH_BACKWARD = 2.5  # flash attention computes the scores again: five products for two (Dao 2023, §3.1)


class Traffic(NamedTuple):
    """Bytes per feature that an element-wise operation reads and writes in bfloat16.

    Attributes:
        forward, backward: in these passes.
        again: in the backward pass besides, if recomputation is selective: once for the gradient of the matrix that
            reads the result, once up to the last tensor that the operation's own gradient needs.
    """

    forward: float
    backward: float
    again: float = 0


# A test counts those of the engine as it is. Fused, each kernel reads its inputs and writes its outputs once, and the
# backward pass does so twice.
ROPE_EAGER, ROPE_FUSED = Traffic(21, 21), Traffic(4, 8)  # per feature of queries and keys
RMS_NORM_EAGER, RMS_NORM_FUSED = Traffic(42, 112, 68), Traffic(8, 16, 8)  # per hidden feature, with its residual
LAYER_NORM_EAGER, LAYER_NORM_FUSED = Traffic(10, 18, 8), Traffic(8, 16, 8)
SWIGLU_EAGER, SWIGLU_FUSED = Traffic(10, 18, 14), Traffic(6, 12, 10)  # per intermediate feature
GELU_EAGER, GELU_FUSED = Traffic(4, 6, 4), Traffic(4, 6, 4)
LOSS_TRAFFIC = 58  # per token of the vocabulary: logits in bfloat16, their softmax in float32, forward and backward

# Bytes per parameter: adding a micro-batch's gradient to the float32 sum (read 2, write 4; read 8, write 4), and
# clearing and accumulating the former (write 2; read 4, write 2).
ACCUMULATION_TRAFFIC = 26
# At the end of a step: casting gradients for the reduction and back, their norm, clipping, clearing.
GRADIENT_TRAFFIC = 30
# On the parameters that a rank owns: AdamW's eight element-wise operations on float32, and the cast to bfloat16.
ADAMW_TRAFFIC = 90


class Recompute(NamedTuple):
    """How often parts of the forward pass are run again in the backward pass."""

    matmul: float
    attention: float
    elementwise: float
    cheap: float  # what selective recomputation makes again


RECOMPUTE = {
    "none": Recompute(matmul=0, attention=0, elementwise=0, cheap=0),
    "selective": Recompute(matmul=0, attention=0, elementwise=0, cheap=1),
    "full": Recompute(matmul=1, attention=1, elementwise=1, cheap=0),
}


@dataclass(frozen=True)
class Workload:
    """What a GPU computes, per token.

    Attributes:
        sequence_length: tokens that attend to each other.
        tensor: GPUs that share each layer.
        recompute: what is computed again.
        compiled: element-wise operations are fused.
        dtype: "bf16" or "fp32".
    """

    sizes: ModelSizes
    sequence_length: int
    tensor: int = 1
    recompute: Recompute = RECOMPUTE["none"]
    compiled: bool = False
    dtype: str = "bf16"

    def layer_seconds(self, hardware: Hardware) -> float:
        """Seconds per token of one decoder layer, forward and backward, without communication."""
        peak, fractions = hardware.peak_flops(self.dtype), hardware.fractions
        matmul = layer_matmul_flops(self.sizes) * (1 + BACKWARD + self.recompute.matmul)
        attention = layer_attention_flops(self.sizes, self.sequence_length)
        attention *= 1 + FLASH_BACKWARD + self.recompute.attention
        traffic = sum(layer_traffic(self.sizes, self.compiled, self.recompute))
        traffic *= (2 if self.dtype == "fp32" else 1) / hardware.achieved_memory_bandwidth
        return (matmul / (peak * fractions.matmul) + attention / (peak * fractions.attention) + traffic) / self.tensor

    def head_seconds(self, hardware: Hardware) -> float:
        """Seconds per token of the head and the loss, forward and backward; they are never recomputed."""
        flops = 2 * self.sizes.hidden_size * self.sizes.vocab_size * (1 + BACKWARD)
        seconds = flops / (hardware.peak_flops(self.dtype) * hardware.fractions.matmul)
        seconds += LOSS_TRAFFIC * self.sizes.vocab_size / hardware.achieved_memory_bandwidth
        return seconds / self.tensor

    def model_seconds(self, hardware: Hardware) -> float:
        """Seconds per token of the whole model on `tensor` GPUs."""
        return self.sizes.num_hidden_layers * self.layer_seconds(hardware) + self.head_seconds(hardware)


def layer_matmul_flops(sizes: ModelSizes) -> float:
    """FLOPs per token in the weights of a decoder layer, forward: a multiplication and an addition each."""
    return 2.0 * sizes.layer_matrix_parameters


def layer_attention_flops(sizes: ModelSizes, sequence_length: int) -> float:
    """FLOPs per token between queries, keys and values, forward: flash attention skips what the causal mask hides."""
    return 2.0 * sizes.query_width * sequence_length


def layer_traffic(sizes: ModelSizes, compiled: bool, recompute: Recompute) -> tuple[float, float]:
    """Bytes per token that the element-wise operations of a decoder layer move in bfloat16: (forward, backward)."""
    if sizes.layer.norm == "rms":
        norm = RMS_NORM_FUSED if compiled else RMS_NORM_EAGER
    else:
        norm = LAYER_NORM_FUSED if compiled else LAYER_NORM_EAGER
    if sizes.layer.gated_mlp:
        activation = SWIGLU_FUSED if compiled else SWIGLU_EAGER
    else:
        activation = GELU_FUSED if compiled else GELU_EAGER
    rope = ROPE_FUSED if compiled else ROPE_EAGER
    operations = (
        (sizes.layer.norms * sizes.hidden_size, norm),
        (sizes.query_width + sizes.kv_width, rope),
        (sizes.intermediate_size, activation),
    )
    forward = sum(features * traffic.forward for features, traffic in operations)
    backward = sum(features * (traffic.backward + recompute.cheap * traffic.again) for features, traffic in operations)
    return forward, backward + recompute.elementwise * forward


def accumulation_seconds(parameters: int, hardware: Hardware) -> float:
    """Seconds per micro-batch to add the gradients of a GPU's parameters to their sum."""
    return parameters * ACCUMULATION_TRAFFIC / hardware.achieved_memory_bandwidth


def optimizer_seconds(parameters: int, data: int, hardware: Hardware) -> float:
    """Seconds per step to finish the gradients of a GPU's parameters and to update its share, 1 / `data` of them."""
    traffic = parameters * (GRADIENT_TRAFFIC + ADAMW_TRAFFIC / data)
    return traffic / hardware.achieved_memory_bandwidth
