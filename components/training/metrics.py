"""The training curve: `metrics.jsonl`, one JSON object per line, and the progress lines.

Rows of iterations hold `loss`, `grad_norm`, `lr`, `tokens_per_second`, `data_stall` (share of the iteration that the
slowest rank waited for samples), `peak_memory_bytes` (of the fullest rank) and, where the hardware's peak is known,
`mfu` and `mfu_6n`. Rows of validations hold `validation_loss` and `validation_perplexity`, and the same for each
group, as in `validation_loss/guidelines`.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.platform.errors import InputError
from components.platform.progress import Progress
from components.platform.storage import write_atomically


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All rows; a last line cut short by a crash is left out.

    Raises:
        InputError: a line is damaged.
    """
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1], 1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise InputError(f"{path}:{number}: not a row of metrics; remove the line and run again") from None
    return rows


class TrainingLog:
    """What the main rank tells of the run; one is made on that rank only."""

    def __init__(self, path: Path, name: str, train_iters: int, after: int) -> None:
        """Continue the file `path` behind iteration `after`: later rows are of work that is done again.

        Behind iteration 0, which is a beginning, nothing is kept: its validation is done again, too.
        """
        self._path, self._name, self._train_iters = path, name, train_iters
        self._continue(after)

    def rewind(self, after: int) -> None:
        """Forget what was told of the iterations behind `after`: they are done again."""
        self._file.close()
        self._continue(after)

    def _continue(self, after: int) -> None:
        kept = [row for row in read_metrics(self._path) if after and row["iteration"] <= after]
        write_atomically(self._path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = self._path.open("a", encoding="utf-8")
        self._progress = Progress(self._name, self._train_iters, "iterations", done=after)

    def step(self, iteration: int, **figures: float) -> None:
        """One iteration is done; `figures` needs loss, lr and tokens_per_second."""
        self._add(iteration, figures)
        shown = {"loss": figures["loss"], "lr": figures["lr"], "tokens/s": f"{figures['tokens_per_second']:,.0f}"}
        if "mfu" in figures:
            shown["mfu"] = f"{figures['mfu']:.0%}"
        self._progress.update(**shown)

    def validation(self, iteration: int, losses: Mapping[str, float], total: float) -> None:
        """Mean loss of each group, and over all held-out text."""
        figures = _validation_figures("", total)
        for group, loss in losses.items():
            figures |= _validation_figures(f"/{group}", loss)
        self._add(iteration, figures)

    def close(self) -> None:
        self._progress.close()
        self._file.close()

    def _add(self, iteration: int, figures: dict[str, float]) -> None:
        self._file.write(json.dumps({"iteration": iteration} | figures) + "\n")
        self._file.flush()


def _validation_figures(suffix: str, loss: float) -> dict[str, float]:
    figures = {f"validation_loss{suffix}": loss}
    if loss < math.log(sys.float_info.max):  # else its perplexity is not a number that fits
        figures[f"validation_perplexity{suffix}"] = math.exp(loss)
    return figures
