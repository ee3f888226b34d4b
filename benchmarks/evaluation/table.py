"""The report: a Markdown table of what was measured, and on what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.evaluation.inputs import Inputs
from benchmarks.train.table import machine, table

LIBRARIES = ("torch", "transformers", "tokenizers", "lm-eval")


@dataclass(frozen=True)
class Result:
    """One program on one case: CPU seconds, user and system, of its cheapest and its dearest run."""

    program: str
    inputs: Inputs
    least: float
    most: float


def markdown(results: Sequence[Result]) -> str:
    """The whole report; of each case the last program is what the others are compared with."""
    peers = {result.inputs.shape.vocabulary: result for result in results}
    rows = []
    for result in results:
        inputs, shape = result.inputs, result.inputs.shape
        rows.append(
            (
                f"{shape.vocabulary:,}",
                f"{shape.parameters:,}",
                f"{shape.head_share:.0%}",
                result.program,
                f"{inputs.questions / result.least:.2f}",
                f"{inputs.prompt_tokens / result.least:,.0f}",
                f"{peers[shape.vocabulary].least / result.least:.2f} ×",
                f"{result.least:.1f} – {result.most:.1f}",
            )
        )
    headers = (
        "vocabulary",
        "parameters",
        "head's share",
        "program",
        "questions/s per core",
        "prompt tokens/s per core",
    )
    inputs = results[0].inputs
    return "\n".join(
        [
            "# Top-token scoring next to lm-eval",
            "",
            "Made by `make bench-evaluation`; what the columns mean is in",
            "[benchmarks/evaluation/README.md](../evaluation/README.md).",
            "",
            *machine(LIBRARIES),
            f"- {inputs.questions} questions, {inputs.prompt_tokens:,} tokens of prompts, batches of "
            f"{inputs.settings.batch_size}, float32, one thread",
            "",
            *table((*headers, "by lm-eval's", "CPU seconds"), rows),
            "",
        ]
    )
