"""The run's HTML report: mixture, loss curves, size and accuracies on one page."""

from __future__ import annotations

from typing import Any

from components.platform.advisory import ADVISORY
from components.platform.report import Page, new_figure


def page(name: str, summary: dict[str, Any]) -> Page:
    result = Page(f"{name}: the run in numbers")
    result.text(ADVISORY)
    _corpus(result, summary["tokens"])
    _training(result, summary["training"])
    _quantization(result, summary["sizes"], summary["quality"])
    _results(result, summary["results"])
    result.heading("Where things are")
    result.table(["artifact", "location"], list(summary["artifacts"].items()))
    return result


def _corpus(result: Page, groups: dict[str, Any]) -> None:
    result.heading("Corpus")
    rows = [
        [
            group,
            *(splits[split][count] for split in ("train", "validation") for count in ("documents", "tokens")),
        ]
        for group, splits in groups.items()
    ]
    headers = ["source", "train documents", "train tokens", "validation documents", "validation tokens"]
    result.table(headers, rows, "Documents and tokens as written, in the layout of the Meditron paper's Table 1")
    figure = new_figure(height=2.2)
    axes = figure.subplots()
    axes.barh(list(groups), [splits["train"]["tokens"] for splits in groups.values()], color="#2a6f97")
    axes.invert_yaxis()
    axes.set_xlabel("training tokens")
    result.figure(figure, "The mixture: training tokens per source")


def _training(result: Page, stages: dict[str, Any]) -> None:
    result.heading("Training")
    rows = [[name, stage["first_loss"], stage["last_loss"], len(stage["loss"])] for name, stage in stages.items()]
    result.table(["stage", "first loss", "last loss", "iterations"], rows)
    figure = new_figure()
    for axes, (name, stage) in zip(figure.subplots(1, len(stages)), stages.items(), strict=True):
        axes.plot(*zip(*stage["loss"], strict=True), color="#2a6f97", label="training")
        if stage["validation_loss"]:
            axes.plot(*zip(*stage["validation_loss"], strict=True), "o-", color="#c8553d", label="validation")
        axes.set(title=name, xlabel="iteration", ylabel="loss (nats per token)")
        axes.legend(frameon=False)
    result.figure(figure, "Training and validation loss")


def _quantization(result: Page, sizes: dict[str, int], quality: dict[str, Any]) -> None:
    result.heading("Quantization")
    result.text(f"Weights: {sizes['sft']:,} bytes before AWQ, {sizes['awq']:,} after.")
    rows = [[name, value] for name, value in quality.items() if isinstance(value, int | float)]
    result.table(["measure", "value"], rows, "Fidelity to the unquantized model on held-out text")


def _results(result: Page, rows: list[dict[str, Any]]) -> None:
    result.heading("Evaluation")
    headers = ["benchmark", "mode", "model", "questions", "accuracy", "95% interval", "unparsed", "among options"]
    cells = [
        [
            *(row[key] for key in ("benchmark", "mode", "model", "n", "accuracy")),
            f"{row['ci_low']:.3f} – {row['ci_high']:.3f}",
            f"{row['unparsed_rate']:.1%}",
            "" if row["restricted_accuracy"] is None else row["restricted_accuracy"],
        ]
        for row in rows
    ]
    note = "Accuracy with Wilson's 95% confidence interval; among options: only the options' tokens compete"
    result.table(headers, cells, note)
