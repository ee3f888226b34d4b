"""What the model card tells of training and safety, from the manifests and files of the artifacts."""

from __future__ import annotations

from typing import Any

from components.platform.energy import Usage
from components.platform.manifest import USAGE_NAME, Manifest

REFUSALS = "refusals.json"


def training(model: Manifest) -> dict[str, Any]:
    """How a model was trained: what its settings say, and what it took."""
    settings, made = model.made_by["settings"], starts(model)
    taken = {
        "devices": " then ".join(dict.fromkeys(f"{start.devices} × {start.device}" for start in made)),
        "hours": sum(start.seconds for start in made) / 3600,
        "starts": len(made),
    }
    names = ("sequence_length", "global_batch_size", "min_lr", "weight_decay", "dtype")
    return {name: settings[name] for name in names} | {
        "layout": model.metadata["layout"],
        "peak_lr": model.metadata["peak_lr"],  # of a retraining another one than that of the settings
        "iterations": model.metadata["iterations"],
        "tokens": model.metadata["tokens"],
        "taken": taken if made else None,
    }


def starts(model: Manifest) -> list[Usage]:
    """What each start of a training took; none where that was not noted."""
    return [Usage(**row) for row in model.read_json(USAGE_NAME)] if model.has(USAGE_NAME) else []


def refusals(evaluation: Manifest) -> dict[str, dict[str, Any]]:
    """Kind of request → n, share that was refused, and its interval; empty where no request was put."""
    return evaluation.read_json(REFUSALS) if evaluation.has(REFUSALS) else {}
