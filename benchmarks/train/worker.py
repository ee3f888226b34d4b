"""One process of a case: reads how many steps to take, a number a line, and answers with a line of JSON each time."""

from __future__ import annotations

import contextlib
import json
import sys
import time

import torch

from benchmarks.train.cases import Case
from benchmarks.train.loops import attention_kernel, hugging_face_loop, our_loop


def main() -> None:
    case = Case.from_json(sys.argv[1])
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr), attention_kernel(case):
        if case.device == "cpu":
            torch.set_num_threads(1)
        step = our_loop(case) if case.loop == "ours" else hugging_face_loop(case)
        done = 0
        print(json.dumps({"ready": True}), file=answers, flush=True)
        for line in sys.stdin:
            results = [measured(step, case, number) for number in range(done, done + int(line))]
            done += len(results)
            print(json.dumps(results), file=answers, flush=True)


def measured(step, case: Case, number: int) -> dict[str, float]:
    """Loss, seconds of processor and of wall clock, and on a GPU the most bytes its tensors have taken so far."""
    cpu, wall = time.process_time(), time.perf_counter()
    loss = step(number)
    if case.device == "cuda":
        torch.cuda.synchronize()
    result = {"loss": loss, "cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    if case.device == "cuda":
        result["memory"] = torch.cuda.max_memory_allocated()
    return result


if __name__ == "__main__":
    main()
