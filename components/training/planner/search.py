"""All layouts of a number of GPUs, best first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from components.platform.errors import SettingsError
from components.training.models.common.config import not_divided
from components.training.parallel.layout import ParallelLayout
from components.training.planner.compute import RECOMPUTE
from components.training.planner.hardware import GPUS_PER_NODE, Hardware
from components.training.planner.plan import Plan, make_plan
from components.training.planner.run import PlannedRun

OUT_OF_MEMORY = "too large for the GPU's memory"
MODEL_DOES_NOT_DIVIDE = "heads, features or sequence not divisible by TP"
TOO_FEW_LAYERS = "fewer layers than stages"


@dataclass(frozen=True)
class SearchResult:
    """Layouts that can be trained, the fastest first, and how many others there are by the reason against them."""

    plans: list[Plan]
    refused: Counter[str]


def search_layouts(run: PlannedRun, gpus: int, hardware: Hardware) -> SearchResult:
    """Try each TP × PP × DP = `gpus` with TP inside a node, each micro-batch size, with each kind of recomputation.

    Model and global batch are those of `run`. The micro-batch sizes are those that divide a data-parallel rank's share
    of the global batch; where that is not whole, there is no layout. All train the same: only memory and time differ.

    Raises:
        SettingsError: no layout fits, and the message says why; or there are no GPUs.
    """
    if gpus < 1:
        raise SettingsError(f"{gpus} GPUs can't train a model; give at least 1")
    plans, refused = [], Counter()
    for layout, micro_batch_size in _candidates(gpus, run.global_batch_size):
        reason = _against(run, layout)
        if reason is not None:
            refused[reason] += len(RECOMPUTE)
            continue
        for recompute in RECOMPUTE:
            candidate = replace(run, layout=layout, micro_batch_size=micro_batch_size, recompute=recompute)
            plan = make_plan(candidate, hardware)
            if plan.fits:
                plans.append(plan)
            else:
                refused[OUT_OF_MEMORY] += 1
    if not plans:
        reasons = "; ".join(f"{count} {reason}" for reason, count in refused.most_common())
        raise SettingsError(f"no layout of {gpus} {hardware.name} GPUs can train this model: {reasons}")
    plans.sort(key=lambda plan: plan.time.total)
    return SearchResult(plans, refused)


def _candidates(gpus: int, global_batch_size: int) -> Iterator[tuple[ParallelLayout, int]]:
    """Layouts, each with all micro-batch sizes that divide its share of the global batch."""
    for tensor in _divisors(gpus):
        if tensor > GPUS_PER_NODE:
            continue
        for pipeline in _divisors(gpus // tensor):
            data = gpus // tensor // pipeline
            if global_batch_size % data:
                continue
            for micro_batch_size in _divisors(global_batch_size // data):
                yield ParallelLayout(tensor, pipeline, data), micro_batch_size


def _against(run: PlannedRun, layout: ParallelLayout) -> str | None:
    """Why the model can't be cut in this way; None when it can."""
    if not_divided(run.sizes, layout.tensor_parallel_size, run.sequence_length):
        return MODEL_DOES_NOT_DIVIDE
    return TOO_FEW_LAYERS if run.sizes.num_hidden_layers < layout.pipeline_parallel_size else None


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
