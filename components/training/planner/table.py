"""Plans as tables for a terminal of 100 columns."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from components.platform.energy import EnergyAssumptions
from components.training.planner.hardware import GB, GIB, GPUS_PER_NODE
from components.training.planner.plan import HOURS_PER_DAY, Plan
from components.training.planner.search import SearchResult

WIDTH = 100
SHOWN_LAYOUTS = 10


def print_plan(plan: Plan, assumptions: EnergyAssumptions) -> None:
    """Everything that is predicted for one layout."""
    console = Console(width=WIDTH)
    run, hardware = plan.run, plan.hardware
    console.print(
        f"{run.sizes.parameters / 1e6:,.1f} million parameters, {run.layout} on {run.layout.world_size} "
        f"{hardware.name}; micro-batch {run.micro_batch_size} × {run.micro_batches}, sequence {run.sequence_length}, "
        f"{run.dtype}, recompute {run.recompute}{', compiled' if run.compiled else ''}",
        highlight=False,
    )
    console.print(_memory_table(plan), _traffic_table(plan), _time_table(plan), _cost_table(plan, assumptions))
    if not plan.fits:
        console.print(f"This does not fit: a {hardware.name} has {hardware.memory_gib} GiB.", style="bold red")


def print_search(result: SearchResult) -> None:
    """The best layouts, and a line about the others."""
    console = Console(width=WIDTH)
    best = result.plans[0]
    table = _table(
        f"Fastest layouts on {best.run.layout.world_size} {best.hardware.name}",
        ("TP", "PP", "DP", "micro-batch", "recompute", "bubble", "GiB", "left", "tokens/s", "MFU 6N", "days"),
    )
    for plan in result.plans[:SHOWN_LAYOUTS]:
        layout, memory = plan.run.layout, max(memory.total for memory in plan.memories)
        sizes = (layout.tensor_parallel_size, layout.pipeline_parallel_size, layout.data_parallel_size)
        table.add_row(
            *map(str, sizes),
            f"{plan.run.micro_batch_size} × {plan.run.micro_batches}",
            plan.run.recompute,
            f"{plan.bubble_fraction:.1%}",
            f"{memory / GIB:.1f}",
            f"{(plan.hardware.memory_bytes - memory) / GIB:.1f}",
            f"{plan.tokens_per_second:,.0f}",
            f"{plan.mfu(with_attention=False):.1%}",
            f"{plan.hours / HOURS_PER_DAY:.3g}",
        )
    console.print(table)
    refused = "; ".join(f"{count} {reason}" for reason, count in result.refused.most_common())
    console.print(f"{len(result.plans)} layouts fit. Not possible: {refused or 'none'}.", highlight=False)


def _memory_table(plan: Plan) -> Table:
    table = _table(
        "Memory of one GPU, in GiB",
        (
            "stage",
            "layers",
            "params",
            "weights",
            "grads",
            "optim",
            "activations",
            "reserved",
            "all",
            "left",
        ),
    )
    table.caption = "activations: at most, or the copies that reduction and update make if these are larger"
    table.caption_justify = "left"
    for stage, memory in zip(plan.stages, plan.memories, strict=True):
        peak = max(memory.activations, memory.step)
        sizes = (memory.weights, memory.gradients, memory.optimizer, peak, memory.reserved, memory.total)
        table.add_row(
            str(stage.index),
            str(stage.layers),
            f"{stage.parameters / 1e6:,.1f} M",
            *(f"{size / GIB:.2f}" for size in sizes),
            f"{(plan.hardware.memory_bytes - memory.total) / GIB:.1f}",
        )
    return table


def _traffic_table(plan: Plan) -> Table:
    within_node = plan.run.layout.world_size <= GPUS_PER_NODE
    table = _table(
        f"Sent by one GPU per step, in GB{' (one node: all over NVLink)' if within_node else ''}",
        ("stage", "all-gathers", "reduce-scatters", "tensor parallel", "pipeline", "data parallel"),
    )
    for stage, traffic in zip(plan.stages, plan.traffic, strict=True):
        sizes = (traffic.tensor_bytes, traffic.pipeline_bytes, traffic.data_bytes)
        counts = (traffic.all_gathers, traffic.reduce_scatters)
        table.add_row(str(stage.index), *(f"{count:,}" for count in counts), *(f"{size / GB:,.2f}" for size in sizes))
    return table


def _time_table(plan: Plan) -> Table:
    time = plan.time
    table = _table("Seconds of a step", ("part", "seconds", "share"))
    parts = {
        "compute": time.compute,
        "tensor parallel": time.tensor,
        "pipeline messages": time.pipeline,
        f"pipeline bubble ({plan.bubble_fraction:.1%} of equal stages)": time.bubble,
        "data parallel": time.data,
        "optimizer": time.optimizer,
        "all": time.total,
    }
    for name, seconds in parts.items():
        table.add_row(name, f"{seconds:.4g}", f"{seconds / time.total:.1%}")
    return table


def _cost_table(plan: Plan, assumptions: EnergyAssumptions) -> Table:
    table = Table(title="The run", title_justify="left", show_header=False, box=SIMPLE_HEAD)
    table.add_row("tokens per second", f"{plan.tokens_per_second:,.0f}")
    table.add_row("tokens per second and GPU", f"{plan.tokens_per_second / plan.run.layout.world_size:,.0f}")
    table.add_row("MFU by 6N; with attention", f"{plan.mfu(False):.1%}; {plan.mfu(True):.1%}")
    table.add_row("days", f"{plan.hours / HOURS_PER_DAY:.3g} for {plan.run.train_iters:,} steps")
    table.add_row("GPU-hours", f"{plan.gpu_hours:,.1f}")
    table.add_row(
        "energy",
        f"{plan.kilowatt_hours(assumptions):,.1f} kWh ({plan.hardware.watts:.0f} W per GPU × PUE "
        f"{assumptions.power_usage_effectiveness})",
    )
    table.add_row("CO₂", f"{plan.kilograms_co2(assumptions):,.1f} kg ({assumptions.grams_co2_per_kwh:.0f} g/kWh)")
    return table


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="left" if column == "part" else "right")
    return table
