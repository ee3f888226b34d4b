"""The training curve: `metrics.jsonl`, one JSON object per line, and the progress lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.platform.progress import Progress
from components.platform.storage import write_atomically


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All rows; a last line cut short by a crash is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


class TrainingLog:
    """What the main rank tells of the run; one is made on that rank only."""

    def __init__(self, path: Path, name: str, train_iters: int, after: int) -> None:
        """Continue the file `path` behind iteration `after`: later rows are of work that is done again."""
        kept = [row for row in read_metrics(path) if row["iteration"] <= after]
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = path.open("a", encoding="utf-8")
        self._progress = Progress(name, train_iters, "iterations", done=after)

    def step(self, iteration: int, **figures: float) -> None:
        """One iteration is done; `figures` needs loss and lr."""
        self._add(iteration, figures)
        self._progress.update(loss=figures["loss"], lr=figures["lr"])

    def validation(self, iteration: int, loss: float) -> None:
        self._add(iteration, {"validation_loss": loss})

    def close(self) -> None:
        self._progress.close()
        self._file.close()

    def _add(self, iteration: int, figures: dict[str, float]) -> None:
        self._file.write(json.dumps({"iteration": iteration} | figures) + "\n")
        self._file.flush()
