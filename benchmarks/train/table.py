"""The report: Markdown tables of what was measured, and on what."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.train.cases import Case
from benchmarks.train.processes import Step
from components.training.flops import attention_flops, parameter_flops

LIBRARIES = ("torch", "deepspeed", "transformers")
NO_GPU = "No GPU was at hand: this part of the benchmark was not run, and there are no figures of it."


@dataclass(frozen=True)
class Result:
    """The measured steps of a case; none, and why, where it did not run.

    Attributes:
        peak: FLOP/s of the GPU; None: unknown, or a CPU.
    """

    case: Case
    steps: Sequence[Step]
    peak: float | None = None
    problem: str = ""

    @property
    def cpu(self) -> float:
        """CPU seconds of the cheapest step but the first, which allocates; neighbours on the machine only add to it."""
        return min(step.cpu for step in self.steps[1:])

    @property
    def tokens_per_second(self) -> float:
        """Of the median step by the clock."""
        return self.case.tokens / sorted(step.wall for step in self.steps)[len(self.steps) // 2]

    def mfu(self, with_attention: bool) -> float | None:
        """Model FLOPs utilisation; None where the peak is unknown."""
        shape = self.case.shape
        flops = parameter_flops(shape.parameters)
        if with_attention:
            flops += attention_flops(shape.layers, shape.hidden, self.case.sequence)
        return None if self.peak is None else self.tokens_per_second * flops / self.peak


def markdown(cpu: Sequence[Result], gpu: Sequence[Result], gpu_name: str | None) -> str:
    """The whole report; `gpu_name` is None where there is none."""
    lines = [
        "# The training engine next to a plain Hugging Face loop",
        "",
        "Made by `make bench-train`; what the columns mean is in [benchmarks/train/README.md](../train/README.md).",
        "",
        *machine(),
        "",
        "## On a CPU",
        "",
        *cpu_table(cpu),
        "",
        "## On one GPU",
        "",
        *([f"{gpu_name}.", "", *gpu_table(gpu)] if gpu_name else [NO_GPU]),
        "",
    ]
    return "\n".join(lines)


def machine(libraries: Sequence[str] = LIBRARIES) -> list[str]:
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in libraries)
    return [
        f"- {datetime.date.today().isoformat()}, {model[1] if model else platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        f"- {versions}",
    ]


def cpu_table(results: Sequence[Result]) -> list[str]:
    """The second result is what the others are compared with."""
    reference = results[1].cpu
    rows = [
        (
            result.case.name,
            result.case.world_size,
            f"{result.cpu:.3f}",
            f"{result.cpu / reference:.2f} ×",
            f"{result.steps[0].loss:.5f}",
            len(result.steps) - 1,
        )
        for result in results
    ]
    case = results[0].case
    shape = case.shape
    title = (
        f"Llama of {shape.layers} layers and width {shape.hidden}, {shape.parameters:,} parameters, "
        f"float32; {case.micro_batches} micro-batches of {case.micro_batch} × {case.sequence} tokens per step."
    )
    headers = ("loop", "processes", "CPU seconds per step", "by Hugging Face's", "loss of the first step", "steps")
    return [title, "", *table(headers, rows)]


def gpu_table(results: Sequence[Result]) -> list[str]:
    """Each row is compared with Hugging Face's of the same shape and length that comes first."""
    references = {_setting(r.case): r for r in reversed(results) if r.case.loop == "hugging-face" and r.steps}
    rows = []
    for result in results:
        case = result.case
        what = f"{case.shape.name}, {case.shape.layers} layers", case.sequence, case.name
        if result.problem:
            rows.append((*what, result.problem, "", "", "", ""))
            continue
        reference = references.get(_setting(case))
        ratio = f"{result.tokens_per_second / reference.tokens_per_second:.2f} ×" if reference else ""
        memory = f"{max(step.memory for step in result.steps) / 1e9:.1f}"
        utilisation = [_percent(result.mfu(with_attention)) for with_attention in (True, False)]
        rows.append((*what, f"{result.tokens_per_second:,.0f}", ratio, *utilisation, memory))
    headers = ("model", "sequence", "loop", "tokens/s", "by Hugging Face's", "MFU", "MFU, 6 N only", "memory, GB")
    return table(headers, rows)


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [" | ".join(headers), " | ".join("---" for _ in headers), *(" | ".join(map(str, row)) for row in rows)]
    return [f"| {line} |" for line in lines]


def _setting(case: Case) -> tuple[str, int]:
    return case.shape.name, case.sequence


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
