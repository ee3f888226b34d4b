"""Bytes of what a forward pass keeps for the backward pass, on one GPU.

The accounting of Korthikanti et al. 2022, §4, for the modules of this engine. It differs from theirs in four ways:
flash attention keeps no scores (s × s); RMSNorm keeps its float32 input and its output; the gathered input of the
column-parallel matrices is kept, so that it isn't divided by the tensor group, unless recomputation is selective; and
there is no dropout.
"""

from __future__ import annotations

from components.training.planner.run import PlannedRun
from components.training.planner.stages import Stage

FP32_BYTES = 4


def layer_bytes(run: PlannedRun) -> float:
    """Of one decoder layer and one micro-batch, without recomputation."""
    return run.micro_batch_tokens * (_norm_bytes(run) + _attention_bytes(run) + _activation_bytes(run))


def _layer_bytes_per_token(run: PlannedRun) -> float:
    """What is kept of one decoder layer."""
    sizes, tensor, element = run.sizes, run.layout.tensor_parallel_size, run.element_bytes
    if run.recompute == "full":  # its input
        return element * sizes.hidden_size / tensor
    if run.recompute == "selective":  # the norms' inputs, one where both norms read the same, and the activation's
        norm_inputs = sizes.layer.norms if sizes.layer.norm == "rms" else 1
        activation_inputs = (2 if sizes.layer.gated_mlp else 1) * sizes.intermediate_size
        cheap = element * (norm_inputs * sizes.hidden_size + activation_inputs) / tensor
        return cheap + _attention_bytes(run)
    return _norm_bytes(run) + _attention_bytes(run) + _activation_bytes(run)


def _norm_bytes(run: PlannedRun) -> float:
    """Of a layer's norms, per token, and of what is gathered after them."""
    sizes, tensor, element = run.sizes, run.layout.tensor_parallel_size, run.element_bytes
    if sizes.layer.norm == "rms":  # its input in float32, and the normalised input before the weight is applied
        norms = sizes.layer.norms * (FP32_BYTES + element) * sizes.hidden_size / tensor
    else:  # its input only, which both norms of a layer share
        norms = element * sizes.hidden_size / tensor
    return norms + sizes.layer.gathers * element * sizes.hidden_size


def _attention_bytes(run: PlannedRun) -> float:
    sizes, tensor, element = run.sizes, run.layout.tensor_parallel_size, run.element_bytes
    # rotated queries and keys, values, the result; of one matrix, its other outputs live as long as the values
    attention = element * (2 * sizes.query_width + 2 * sizes.kv_width) / tensor
    if sizes.layer.fused_qkv:
        attention += element * (sizes.query_width + sizes.kv_width) / tensor
    log_sum_exp = FP32_BYTES * sizes.num_attention_heads / tensor
    return attention + log_sum_exp


def _activation_bytes(run: PlannedRun) -> float:
    """SwiGLU: gate, silu(gate), up and their product; GELU: its input and its output."""
    sizes = run.sizes
    features = (4 if sizes.layer.gated_mlp else 2) * sizes.intermediate_size
    return run.element_bytes * features / run.layout.tensor_parallel_size


def micro_batch_bytes(run: PlannedRun, stage: Stage) -> float:
    """Of one stage and one micro-batch: what is kept from its forward pass until its backward pass."""
    hidden_slice = run.element_bytes * run.sizes.hidden_size / run.layout.tensor_parallel_size
    per_token = stage.layers * _layer_bytes_per_token(run)
    if run.layout.pipeline_parallel_size > 1:  # what came from the stage before, and what goes to the next
        per_token += hidden_slice * ((not stage.is_first) + (not stage.is_last))
    if stage.is_last:
        per_token += _head_bytes_per_token(run)
    return run.micro_batch_tokens * per_token


def _head_bytes_per_token(run: PlannedRun) -> float:
    """The final norm, the gathered input of the head, the logits, and their softmax in float32."""
    sizes, tensor, element = run.sizes, run.layout.tensor_parallel_size, run.element_bytes
    norm = (FP32_BYTES + element if sizes.layer.norm == "rms" else element) * sizes.hidden_size / tensor
    vocabulary = (element + FP32_BYTES) * run.padded_vocab_size / tensor
    return norm + element * sizes.hidden_size + vocabulary


def backward_bytes(run: PlannedRun, stage: Stage) -> float:
    """What the backward pass needs besides, at its worst moment.

    On the last stage, the gradient of the logits in both precisions; with recomputation, no more than all of one layer.
    """
    tensor = run.layout.tensor_parallel_size
    logits = (run.element_bytes + FP32_BYTES) * run.padded_vocab_size / tensor * run.micro_batch_tokens
    again = layer_bytes(run) if run.recompute != "none" else 0.0
    return max(logits if stage.is_last else 0.0, again)
