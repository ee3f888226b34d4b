"""What a finished run shows in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from components.platform.context import PlatformSettings
from components.platform.manifest import REPORT_NAME, Manifest


def print_summary(registered: Manifest, platform: PlatformSettings) -> None:
    summary = registered.read_json("summary.json")
    console = Console(width=100)
    console.print(_tokens(summary["tokens"]), _losses(summary["training"]), _results(summary["results"]))
    sizes = summary["sizes"]
    console.print(
        f"Weights: {sizes['sft'] / 1e6:.2f} MB before AWQ, {sizes['awq'] / 1e6:.2f} MB after "
        f"({sizes['awq'] / sizes['sft']:.0%})."
    )
    places = Table(title="Where things are", title_justify="left", show_header=False)
    for name, uri in summary["artifacts"].items():
        places.add_row(name, _short(uri))
    places.add_row("report", _short(str(registered.fetch(REPORT_NAME))))
    console.print(places)
    console.print("Look at the run:   ", f"mlflow ui --backend-store-uri {platform.tracking.uri}", highlight=False)
    chat = f"meditron chat --model {_short(summary['artifacts']['awq'])}"
    console.print("Talk to the model: ", chat, highlight=False, soft_wrap=True)


def _tokens(groups: dict[str, Any]) -> Table:
    table = Table(title="Corpus", title_justify="left")
    for column in ("source", "train documents", "train tokens", "validation documents", "validation tokens"):
        table.add_column(column, justify="left" if column == "source" else "right")
    for group, splits in groups.items():
        counts = [splits[split][count] for split in ("train", "validation") for count in ("documents", "tokens")]
        table.add_row(group, *(f"{count:,}" for count in counts))
    return table


def _losses(stages: dict[str, Any]) -> Table:
    table = Table(title="Training", title_justify="left")
    for column in ("stage", "iterations", "first loss", "last loss"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for name, stage in stages.items():
        table.add_row(name, str(len(stage["loss"])), f"{stage['first_loss']:.4f}", f"{stage['last_loss']:.4f}")
    return table


def _results(rows: list[dict[str, Any]]) -> Table:
    table = Table(title="Evaluation", title_justify="left")
    for column in ("benchmark", "mode", "model", "n", "accuracy", "95% interval", "unparsed", "among options"):
        table.add_column(column, justify="left" if column in {"benchmark", "mode", "model"} else "right")
    for row in rows:
        interval = f"{row['ci_low']:.3f} – {row['ci_high']:.3f}"
        unparsed = f"{row['unparsed_rate']:.0%}"
        accuracy, restricted = f"{row['accuracy']:.3f}", row["restricted_accuracy"]
        among_options = "" if restricted is None else f"{restricted:.3f}"
        names = row["benchmark"], row["mode"], row["model"]
        table.add_row(*names, str(row["n"]), accuracy, interval, unparsed, among_options)
    return table


def _short(uri: str) -> str:
    """A path as the user would type it from here."""
    path = Path(uri)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else uri
