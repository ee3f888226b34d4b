"""The page that shows how training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.platform.report import Page, new_figure

VALIDATION = "validation_loss"
# Curves over the iterations: keys of the rows in one plot with their names in its legend, and the plot's caption.
CURVES: tuple[tuple[Mapping[str, str], str], ...] = (
    ({"grad_norm": ""}, "Gradient norm before clipping"),
    ({"lr": ""}, "Learning rate"),
    ({"tokens_per_second": ""}, "Tokens per second"),
    ({"mfu": "with attention", "mfu_6n": "6 N only"}, "Model FLOPs utilisation, share of the peak"),
    ({"peak_memory_bytes": ""}, "Most memory held so far by one rank, bytes"),
    ({"data_stall": ""}, "Share of the iteration spent waiting for samples"),
)


def training_page(title: str, facts: Mapping[str, Any], rows: Sequence[Mapping[str, float]]) -> str:
    """HTML with the facts of a run and its curves; `rows` are those of `metrics.jsonl`."""
    page = Page(title)
    page.table(("", ""), [(key.replace("_", " "), value) for key, value in facts.items()])
    steps = [row for row in rows if "loss" in row]
    validations = [row for row in rows if VALIDATION in row]
    if validations:
        _validation_table(page, validations[-1])
    _loss_plot(page, steps, validations)
    for lines, caption in CURVES:
        if all(key in row for row in steps for key in lines):
            _plot(page, steps, lines, caption)
    return page.html()


def _validation_table(page: Page, row: Mapping[str, float]) -> None:
    """Losses of the last validation: of all held-out text, and of each group."""
    losses = {key.removeprefix(VALIDATION).lstrip("/"): loss for key, loss in row.items() if key.startswith(VALIDATION)}
    lines = [
        (group or "all", loss, row.get("validation_perplexity" + (f"/{group}" if group else ""), "too large"))
        for group, loss in losses.items()
    ]
    page.table(("held-out text", "loss", "perplexity"), lines, f"Validation after iteration {row['iteration']}")


def _loss_plot(page: Page, steps: Sequence[Mapping[str, float]], validations: Sequence[Mapping[str, float]]) -> None:
    figure = new_figure()
    axes = figure.subplots()
    axes.plot([row["iteration"] for row in steps], [row["loss"] for row in steps], label="training")
    for key in validations[-1] if validations else ():
        if key.startswith(VALIDATION):
            group = key.removeprefix(VALIDATION).lstrip("/")
            points = [(row["iteration"], row[key]) for row in validations if key in row]
            style = {"linewidth": 1, "linestyle": "--"} if group else {"marker": "o"}
            axes.plot(*zip(*points, strict=True), label=f"validation, {group or 'all'}", **style)
    if validations:
        axes.legend()
    axes.set(xlabel="iteration", ylabel="nats per token")
    page.figure(figure, "Loss")


def _plot(page: Page, steps: Sequence[Mapping[str, float]], lines: Mapping[str, str], caption: str) -> None:
    figure = new_figure(height=2)
    axes = figure.subplots()
    for key, name in lines.items():
        axes.plot([row["iteration"] for row in steps], [row[key] for row in steps], label=name)
    if len(lines) > 1:
        axes.legend()
    axes.set(xlabel="iteration")
    page.figure(figure, caption)
