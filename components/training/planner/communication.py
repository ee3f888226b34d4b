"""Bytes that a GPU sends in a training step, and the seconds that they take.

Tensor parallelism with sequence parallelism: Korthikanti et al. 2022, §4.2.2. Ring collectives over n ranks send
(n - 1) / n of the whole tensor to gather or to scatter it, and twice that to reduce it for all (Patarasuk & Yuan
2009).
"""

from __future__ import annotations

from dataclasses import dataclass

from components.training.planner.hardware import GPUS_PER_NODE, Hardware
from components.training.planner.run import PlannedRun
from components.training.planner.stages import Stage


@dataclass(frozen=True)
class StageTraffic:
    """What one GPU of a stage sends in one step.

    Attributes:
        all_gathers, reduce_scatters: collectives over the tensor group on hidden states, and how often.
        tensor_bytes: what these send.
        pipeline_bytes: hidden states to the next stage and their gradients to the one before.
        data_bytes: gradients to the other data-parallel ranks, and updated weights.
    """

    all_gathers: int
    reduce_scatters: int
    tensor_bytes: float
    pipeline_bytes: float
    data_bytes: float


def stage_traffic(run: PlannedRun, stage: Stage) -> StageTraffic:
    """Counts and bytes per step."""
    gathers, scatters = collectives_per_micro_batch(run, stage)
    message = hidden_state_bytes(run)
    tensor, data = run.layout.tensor_parallel_size, run.layout.data_parallel_size
    directions = (not stage.is_first) + (not stage.is_last)
    return StageTraffic(
        all_gathers=gathers * run.micro_batches,
        reduce_scatters=scatters * run.micro_batches,
        tensor_bytes=(gathers + scatters) * run.micro_batches * message * (tensor - 1),
        pipeline_bytes=directions * run.micro_batches * message,
        data_bytes=(2 * run.element_bytes + run.element_bytes) * stage.parameters * (data - 1) / data,
    )


def hidden_state_bytes(run: PlannedRun) -> float:
    """The hidden states of a micro-batch on one rank of a tensor group, which holds a slice of the sequence."""
    hidden_states = run.micro_batch_tokens * run.sizes.hidden_size * run.element_bytes
    return hidden_states / run.layout.tensor_parallel_size


def collectives_per_micro_batch(run: PlannedRun, stage: Stage) -> tuple[int, int]:
    """All-gathers and reduce-scatters over the tensor group, forward and backward.

    The gradient of one is the other, so a pass forward and back has as many of each. The embedding scatters and the
    head gathers, once each way. Selective recomputation gathers again; full recomputation repeats a layer's forward
    pass up to its last saved tensor, which is before its last reduce-scatter.
    """
    if run.layout.tensor_parallel_size == 1:
        return 0, 0
    both_ways = stage.layers * (run.sizes.layer.gathers + run.sizes.layer.scatters)
    both_ways += stage.is_first + stage.is_last
    gathers = run.sizes.layer.gathers if run.recompute != "none" else 0
    scatters = run.sizes.layer.scatters - 1 if run.recompute == "full" else 0
    return both_ways + stage.layers * gathers, both_ways + stage.layers * scatters


def tensor_seconds(run: PlannedRun, traffic: StageTraffic, hardware: Hardware) -> float:
    """Seconds per micro-batch of waiting for the tensor group: nothing hides these collectives.

    A tensor group that is larger than a node is as slow as the network that it then uses.
    """
    bandwidth = hardware.achieved_nvlink
    if run.layout.tensor_parallel_size > GPUS_PER_NODE:
        bandwidth = min(bandwidth, hardware.achieved_network_per_node / GPUS_PER_NODE)
    return traffic.tensor_bytes / run.micro_batches / bandwidth


def pipeline_seconds(run: PlannedRun, hardware: Hardware) -> float:
    """Seconds per micro-batch of waiting for a neighbouring stage: one message each way, which nothing hides.

    The ranks of a stage stand together, so all of them that share a node send through its network at once.
    """
    if run.layout.pipeline_parallel_size == 1:
        return 0.0
    return 2 * hidden_state_bytes(run) / _bandwidth(run, hardware, stage_ranks_of(run))


def data_seconds(run: PlannedRun, traffic: StageTraffic, hardware: Hardware) -> float:
    """Seconds per step of reducing gradients and gathering weights, after the last micro-batch.

    Ranks of a data-parallel group are tensor_parallel_size apart: each node closes that many rings through its network.
    """
    within_node = stage_ranks_of(run) <= GPUS_PER_NODE
    if within_node:
        return traffic.data_bytes / hardware.achieved_nvlink
    rings = min(run.layout.tensor_parallel_size, GPUS_PER_NODE)
    return traffic.data_bytes * rings / hardware.achieved_network_per_node


def stage_ranks_of(run: PlannedRun) -> int:
    """Ranks of one pipeline stage; they are consecutive."""
    return run.layout.tensor_parallel_size * run.layout.data_parallel_size


def _bandwidth(run: PlannedRun, hardware: Hardware, distance: int) -> float:
    """Bytes/s of each rank when all ranks of a node send to the one `distance` ranks further."""
    if run.layout.world_size <= GPUS_PER_NODE:
        return hardware.achieved_nvlink
    return hardware.achieved_network_per_node / min(distance, GPUS_PER_NODE)
