"""The page that shows how training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.platform.report import Page, new_figure


def training_page(title: str, facts: Mapping[str, Any], rows: Sequence[Mapping[str, float]]) -> str:
    """HTML with the facts of a run and its curves; `rows` are those of `metrics.jsonl`."""
    page = Page(title)
    page.table(("", ""), [(key.replace("_", " "), value) for key, value in facts.items()])
    steps = [row for row in rows if "loss" in row]
    validations = [row for row in rows if "validation_loss" in row]
    iterations = [row["iteration"] for row in steps]

    figure = new_figure()
    axes = figure.subplots()
    axes.plot(iterations, [row["loss"] for row in steps], label="training")
    if validations:
        x = [row["iteration"] for row in validations]
        axes.plot(x, [row["validation_loss"] for row in validations], marker="o", label="validation")
        axes.legend()
    axes.set(xlabel="iteration", ylabel="nats per token")
    page.figure(figure, "Loss")

    for key, label in (("grad_norm", "Gradient norm before clipping"), ("lr", "Learning rate")):
        figure = new_figure(height=2)
        axes = figure.subplots()
        axes.plot(iterations, [row[key] for row in steps])
        axes.set(xlabel="iteration")
        page.figure(figure, label)
    return page.html()
