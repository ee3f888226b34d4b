"""The prediction for one run on one kind of hardware."""

from __future__ import annotations

from dataclasses import dataclass

from components.platform.energy import EnergyAssumptions, kilograms_co2, kilowatt_hours
from components.training.flops import attention_flops, parameter_flops
from components.training.planner.communication import (
    StageTraffic,
    data_seconds,
    pipeline_seconds,
    stage_traffic,
    tensor_seconds,
)
from components.training.planner.compute import (
    RECOMPUTE,
    Workload,
    accumulation_seconds,
    optimizer_seconds,
)
from components.training.planner.hardware import Hardware
from components.training.planner.memory import StageMemory, fits, stage_memory
from components.training.planner.run import PlannedRun
from components.training.planner.stages import Stage, cut_stages

SECONDS_PER_HOUR, HOURS_PER_DAY = 3600.0, 24.0


@dataclass(frozen=True)
class StepTime:
    """Where the seconds of a step go, on the slowest stage.

    Attributes:
        compute: matrix products, attention and element-wise operations.
        tensor: waiting for the tensor group.
        pipeline: waiting for messages of neighbouring stages.
        bubble: waiting for the first micro-batch to arrive and the last one to leave, or for a slower stage.
        data: reducing gradients and gathering weights.
        optimizer: the update.
    """

    compute: float
    tensor: float
    pipeline: float
    bubble: float
    data: float
    optimizer: float

    @property
    def total(self) -> float:
        return self.compute + self.tensor + self.pipeline + self.bubble + self.data + self.optimizer


@dataclass(frozen=True)
class Plan:
    """All that is predicted; per-stage lists are in the order of the pipeline."""

    run: PlannedRun
    hardware: Hardware
    stages: list[Stage]
    memories: list[StageMemory]
    traffic: list[StageTraffic]
    time: StepTime

    @property
    def fits(self) -> bool:
        return fits(self.memories, self.hardware)

    @property
    def bubble_fraction(self) -> float:
        """(p - 1) / (m + p - 1) of p equal stages and m micro-batches (Narayanan et al. 2021, §2.2.1)."""
        others = self.run.layout.pipeline_parallel_size - 1
        return others / (self.run.micro_batches + others)

    @property
    def tokens_per_second(self) -> float:
        """Of all GPUs together."""
        return self.run.step_tokens / self.time.total

    def mfu(self, with_attention: bool) -> float:
        """Model FLOPs utilisation, by 6 N alone or with the FLOPs of attention."""
        sizes = self.run.sizes
        flops = parameter_flops(sizes.parameters)
        if with_attention:
            flops += attention_flops(sizes.num_hidden_layers, sizes.query_width, self.run.sequence_length)
        peak = self.hardware.peak_flops(self.run.dtype) * self.run.layout.world_size
        return flops * self.tokens_per_second / peak

    @property
    def hours(self) -> float:
        """From the first to the last step; validation, checkpoints and restarts come on top."""
        return self.run.train_iters * self.time.total / SECONDS_PER_HOUR

    @property
    def gpu_hours(self) -> float:
        return self.hours * self.run.layout.world_size

    def kilowatt_hours(self, assumptions: EnergyAssumptions) -> float:
        return kilowatt_hours(self.gpu_hours, self.hardware.watts, assumptions)

    def kilograms_co2(self, assumptions: EnergyAssumptions) -> float:
        return kilograms_co2(self.kilowatt_hours(assumptions), assumptions)


def make_plan(run: PlannedRun, hardware: Hardware) -> Plan:
    """Predict memory, communication and time of `run` on `hardware`."""
    stages = cut_stages(run)
    traffic = [stage_traffic(run, stage) for stage in stages]
    memories = [stage_memory(run, stage) for stage in stages]
    return Plan(run, hardware, stages, memories, traffic, _step_time(run, hardware, stages, traffic))


def _step_time(run: PlannedRun, hardware: Hardware, stages: list[Stage], traffic: list[StageTraffic]) -> StepTime:
    """One micro-batch passes all stages one after the other, the others follow at the pace of the slowest.

    Σ tᵢ + (m - 1) · max tᵢ; of p equal stages that is (m + p - 1) · t, of which (p - 1) · t is the bubble.
    """
    compute = [_compute_seconds(run, hardware, stage) for stage in stages]
    tensor = [tensor_seconds(run, sent, hardware) for sent in traffic]
    pipeline = pipeline_seconds(run, hardware)
    seconds = [own + waiting + pipeline for own, waiting in zip(compute, tensor, strict=True)]
    slowest = seconds.index(max(seconds))
    count = run.micro_batches
    return StepTime(
        compute=count * compute[slowest],
        tensor=count * tensor[slowest],
        pipeline=count * pipeline,
        bubble=sum(seconds) - seconds[slowest],
        data=max(data_seconds(run, sent, hardware) for sent in traffic),
        optimizer=max(optimizer_seconds(stage.parameters, run.layout.data_parallel_size, hardware) for stage in stages),
    )


def _compute_seconds(run: PlannedRun, hardware: Hardware, stage: Stage) -> float:
    """Seconds of one micro-batch on one stage."""
    workload = Workload(
        sizes=run.sizes,
        sequence_length=run.sequence_length,
        tensor=run.layout.tensor_parallel_size,
        recompute=RECOMPUTE[run.recompute],
        compiled=run.compiled,
        dtype=run.dtype,
    )
    per_token = stage.layers * workload.layer_seconds(hardware)
    if stage.is_last:
        per_token += workload.head_seconds(hardware)
    return run.micro_batch_tokens * per_token + accumulation_seconds(stage.parameters, hardware)
