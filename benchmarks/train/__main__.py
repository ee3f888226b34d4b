"""`python -m benchmarks.train`: measure our engine next to Hugging Face's, and write benchmarks/results/train.md."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.train import table
from benchmarks.train.cases import SMALL, TINY, Case, cpu_cases, gpu_cases
from benchmarks.train.processes import CaseError, started
from benchmarks.train.table import Result
from components.training.flops import peak_flops

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "train.md"
# What a machine with torch and transformers alone lacks, by the names it is imported and installed under
NEEDED = {"deepspeed": "deepspeed", "pydantic": "pydantic", "hjson": "hjson", "cpuinfo": "py-cpuinfo"}
NEEDED |= {"einops": "einops", "msgpack": "msgpack", "ninja": "ninja", "psutil": "psutil", "yaml": "pyyaml"}
CPU_TIME_LIMIT, GPU_TIME_LIMIT = 900.0, 150.0  # seconds from the start of a case's processes to their end
GPU_WARM_UP, GPU_STEPS = 3, 7
CPU_STEPS = 2  # in a row, before it is the next case's turn
SAME_LOSS = 1e-4  # how far the loops' first losses may differ


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description=__doc__)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto", help="cuda: leave out the CPU")
    parser.add_argument("--rounds", type=int, default=8, help=f"turns of {CPU_STEPS} steps per loop on the CPU (8)")
    parser.add_argument("--minutes", type=float, default=7, help="for the GPU; cases that don't fit are left out (7)")
    parser.add_argument("--tiny", action="store_true", help="a model of no meaning, and write no results")
    parser.add_argument("--wheels", type=Path, help="folder to install missing packages from, without a network")
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    if arguments.wheels:
        install_missing(arguments.wheels)

    import torch

    name = torch.cuda.get_device_name() if arguments.device != "cpu" and torch.cuda.is_available() else None
    if arguments.device == "cuda" and name is None:
        parser.error("--device cuda: torch finds no GPU")
    gpu = measure_gpu(gpu_cases(torch.cuda.mem_get_info()[1]), name, deadline) if name else []
    if arguments.device == "cuda":
        print("\n".join([*table.machine(), f"- {name}", "", *table.gpu_table(gpu)]))
        return
    shape, sequence = (TINY, 32) if arguments.tiny else (SMALL, 256)
    report = table.markdown(measure_cpu(cpu_cases(shape, sequence), arguments.rounds), gpu, name)
    print(report)
    if not arguments.tiny:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(report, encoding="utf-8")


def install_missing(wheels: Path) -> None:
    """Install what the engine imports and this Python lacks, from a folder of wheels."""
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        options = ["--quiet", "--no-index", "--find-links", str(wheels)]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, *missing], check=True)


def measure_cpu(cases: Sequence[Case], rounds: int) -> list[Result]:
    """The cases take turns; those of several processes come after the others, for they'd fill the machine.

    Raises:
        CaseError: a process failed.
        RuntimeError: the loops' losses differ, so they don't do the same.
    """
    alone = [case for case in cases if case.world_size == 1]
    results = [*_in_turns(alone, rounds)]
    for case in cases:
        if case not in alone:
            results += _in_turns([case], rounds)
    first = [result.steps[0].loss for result in results]
    if max(first) - min(first) > SAME_LOSS:
        raise RuntimeError(f"first losses {first} are not the same: the loops don't do the same work")
    return results


def _in_turns(cases: Sequence[Case], rounds: int) -> list[Result]:
    with ExitStack() as stack:
        all_workers = [stack.enter_context(started(case, CPU_TIME_LIMIT)) for case in cases]
        # The first step, which allocates, is taken for its loss only.
        steps = [workers.steps(1) for workers in all_workers]
        for _ in range(rounds):
            for workers, own in zip(all_workers, steps, strict=True):
                own += workers.steps(CPU_STEPS)
    results = [Result(case, own) for case, own in zip(cases, steps, strict=True)]
    for result in results:
        print(f"{result.case.name}: {result.cpu:.3f} CPU s per step", file=sys.stderr, flush=True)
    return results


def measure_gpu(cases: Sequence[Case], name: str, deadline: float) -> list[Result]:
    """One case after the other, as each may need the whole memory; a case that fails is a row that says so."""

    results = []
    for case in cases:
        left = deadline - time.monotonic()
        result = _on_gpu(case, min(left, GPU_TIME_LIMIT), peak_flops(name)) if left > 0 else _left_out(case)
        speed = result.problem or f"{result.tokens_per_second:,.0f} tokens/s"
        print(f"{case.shape.name} {case.sequence} {case.name}: {speed}", file=sys.stderr, flush=True)
        results.append(result)
    return results


def _on_gpu(case: Case, time_limit: float, peak: float | None) -> Result:
    try:
        with started(case, time_limit) as workers:
            workers.steps(GPU_WARM_UP)
            return Result(case, workers.steps(GPU_STEPS), peak)
    except CaseError as error:
        print(error, file=sys.stderr, flush=True)
        out_of_memory = "OutOfMemoryError" in str(error)
        return Result(case, [], problem="out of memory" if out_of_memory else "failed: see the command's output")


def _left_out(case: Case) -> Result:
    return Result(case, [], problem="not run: the time was over")


if __name__ == "__main__":
    main()
