"""`python -m benchmarks.evaluation`: our scoring next to lm-eval's; writes benchmarks/results/evaluation.md."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.evaluation.inputs import Inputs, Shape, make_inputs
from benchmarks.evaluation.programs import PROGRAMS
from benchmarks.evaluation.table import Result, markdown

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "evaluation.md"
SAMPLE = ROOT / "pipelines" / "sample"
# With the first vocabulary the head's share of the arithmetic is near that in a 7B model; the second is Llama 2's.
SMALL = Shape(hidden=384, intermediate=1032, layers=6, heads=6, tokens=1024, vocabulary=1024)
CASES = (SMALL, replace(SMALL, vocabulary=32_000))
TINY = Shape(hidden=32, intermediate=64, layers=2, heads=4, tokens=600, vocabulary=600)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__)
    parser.add_argument("--questions", type=int, default=16, help="of each benchmark (16)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each program that count (5)")
    parser.add_argument("--batch-size", type=int, default=4, help="of both programs (4)")
    parser.add_argument("--tiny", action="store_true", help="a model of no meaning, and write no results")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "benchmarks" / "evaluation", help="scratch folder")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    torch.set_num_threads(1)  # the figures are for one core
    data = Path(os.environ.get("MEDITRON_DATA") or SAMPLE)
    results = []
    for shape in (TINY,) if arguments.tiny else CASES:
        folder = work / str(shape.vocabulary)
        inputs = make_inputs(shape, data, arguments.questions, arguments.batch_size, folder)
        results += measure(inputs, arguments.rounds)
    report = markdown(results)
    print(report)
    if not arguments.tiny:
        RESULTS.write_text(report, encoding="utf-8")


def measure(inputs: Inputs, rounds: int) -> list[Result]:
    """The programs take turns, so that what else the machine does falls on both; a first run of each doesn't count.

    Raises:
        RuntimeError: they chose differently somewhere, so they don't do the same.
    """
    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for number in range(rounds + 1):
        choices = {}
        for name, program in PROGRAMS.items():
            with contextlib.redirect_stdout(sys.stderr):
                start = time.process_time()
                choices[name] = program(inputs)
                spent = time.process_time() - start
            print(f"{inputs.shape.vocabulary}: {name}: {spent:.2f} CPU s", file=sys.stderr, flush=True)
            if number:
                seconds[name].append(spent)
        expect_same(choices)
    return [Result(name, inputs, min(spent), max(spent)) for name, spent in seconds.items()]


def expect_same(choices: dict[str, dict[tuple[str, str], str]]) -> None:
    """
    Raises:
        RuntimeError: two programs chose another option somewhere.
    """
    (first, reference), *others = choices.items()
    for name, own in others:
        if different := [key for key in reference.keys() | own.keys() if reference.get(key) != own.get(key)]:
            raise RuntimeError(f"{first} and {name} differ on {len(different)} questions, such as {different[0]}")


if __name__ == "__main__":
    main()
