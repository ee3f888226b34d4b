"""Bytes that one GPU of each pipeline stage needs."""

from __future__ import annotations

from dataclasses import dataclass

from components.training.planner.activations import FP32_BYTES, backward_bytes, micro_batch_bytes
from components.training.planner.hardware import GIB, Hardware
from components.training.planner.run import PlannedRun
from components.training.planner.stages import Stage

OPTIMIZER_TENSORS = 3  # float32 weights and both moments of Adam
REDUCTION_BUCKET = 500_000_000  # elements that DeepSpeed reduces together; it copies them unless they are one tensor
CONTEXT_BYTES = 2.0 * GIB  # assumed: CUDA's context and kernels, cuBLAS workspaces, NCCL's buffers
FRAGMENTATION = 0.05  # assumed: share of the memory in use that the allocator can't give out, and small temporaries


@dataclass(frozen=True)
class StageMemory:
    """Bytes on one GPU of a stage.

    Attributes:
        weights: in the training type.
        gradients: float32 sums and, in bf16, the micro-batch's own; ZeRO-1 doesn't divide them.
        optimizer: float32 weights and Adam's moments, divided over the data-parallel ranks (ZeRO-1).
        activations: of all micro-batches in flight, and what the backward pass adds.
        step: copies that are made to reduce gradients and to update weights, when no activations are left.
        reserved: context and fragmentation, an assumption.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    step: float
    reserved: float

    @property
    def total(self) -> float:
        """At the worst moment of a step."""
        return self.weights + self.gradients + self.optimizer + max(self.activations, self.step) + self.reserved


def stage_memory(run: PlannedRun, stage: Stage) -> StageMemory:
    """What one GPU of `stage` needs."""
    weights = stage.parameters * run.element_bytes
    gradients = stage.parameters * (FP32_BYTES + run.element_bytes if run.dtype == "bf16" else FP32_BYTES)
    optimizer = stage.parameters * OPTIMIZER_TENSORS * FP32_BYTES / run.layout.data_parallel_size
    activations = stage.in_flight * micro_batch_bytes(run, stage) + backward_bytes(run, stage)
    step = _step_bytes(run, stage)
    in_use = weights + gradients + optimizer + max(activations, step)
    return StageMemory(
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        activations=activations,
        step=step,
        reserved=CONTEXT_BYTES + FRAGMENTATION * in_use,
    )


def _step_bytes(run: PlannedRun, stage: Stage) -> float:
    """The larger of what the reduction and the update need for a moment.

    The reduction casts the gradients to the training type, and joins those of matrices and norms in one tensor if they
    are few; AdamW makes the root of its second moment.
    """
    joined = FP32_BYTES if stage.parameters <= REDUCTION_BUCKET else 0
    reduction = stage.parameters * (joined + run.element_bytes)
    return max(reduction, stage.parameters * FP32_BYTES / run.layout.data_parallel_size)


def fits(memories: list[StageMemory], hardware: Hardware) -> bool:
    """Whether all stages fit on this GPU."""
    return all(memory.total <= hardware.memory_bytes for memory in memories)
