"""What the model card tells of data, training and safety, from the manifests and files of the artifacts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from components.platform.energy import Usage
from components.platform.manifest import USAGE_NAME, Manifest

LEDGER, REFUSALS = "ledger.json", "refusals.json"
CONTAMINATED = "contaminated_"


@dataclass(frozen=True)
class Contamination:
    """What was kept out of the corpus.

    Attributes:
        searched: benchmarks whose items were looked for; none: there was no search.
        documents: how many were left out, by benchmark.
    """

    searched: tuple[str, ...]
    documents: dict[str, int]


def contamination(corpus: Manifest) -> Contamination:
    searched = tuple((corpus.made_by["settings"].get("decontaminate") or {}).get("benchmarks", ()))
    documents = dict.fromkeys(searched, 0)
    for row in corpus.read_json(LEDGER):
        for reason, count in row["drops"].items():
            if reason.startswith(CONTAMINATED):
                benchmark = reason.removeprefix(CONTAMINATED)
                documents[benchmark] = documents.get(benchmark, 0) + count
    return Contamination(searched, documents)


def training(model: Manifest) -> dict[str, Any]:
    """How a model was trained: what its settings say, and what it took."""
    settings, made = model.made_by["settings"], starts(model)
    taken = {
        "devices": " then ".join(dict.fromkeys(f"{start.devices} × {start.device}" for start in made)),
        "hours": sum(start.seconds for start in made) / 3600,
        "starts": len(made),
    }
    names = ("sequence_length", "global_batch_size", "lr", "min_lr", "weight_decay", "dtype")
    return {name: settings[name] for name in names} | {
        "layout": model.metadata["layout"],
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
