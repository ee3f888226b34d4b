"""The run in numbers: tokens per source, losses, sizes, accuracies. One dictionary that the page, the model card and
the terminal all show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.platform.manifest import METRICS_NAME, Manifest


def summarise(
    corpus: Manifest,
    pretrained: Manifest,
    tuned: Manifest,
    quantized: Manifest,
    evaluations: Sequence[Manifest],
) -> dict[str, Any]:
    """Collect what each stage wrote about itself.

    Returns:
        `tokens`: rows of group, documents and tokens per split; `training`: per stage the loss curve, first and
        last loss; `sizes`: bytes before and after quantization; `quality`: quantization fidelity; `results`: rows
        of benchmark × mode × model with accuracy and confidence interval; `artifacts`: where everything lies.
    """
    stages = {
        "corpus": corpus,
        "pretrain": pretrained,
        "sft": tuned,
        "awq": quantized,
        **{f"evaluation {manifest.metadata['model']}": manifest for manifest in evaluations},
    }
    return {
        "tokens": corpus.read_json("stats.json")["groups"],
        "training": {"pretrain": _training(pretrained), "sft": _training(tuned)},
        "sizes": {"sft": _weights(tuned), "awq": _weights(quantized)},
        "quality": quantized.read_json("quality.json"),
        "results": [row for manifest in evaluations for row in manifest.read_json("results.json")],
        "artifacts": {name: manifest.uri for name, manifest in stages.items()},
    }


def _training(model: Manifest) -> dict[str, Any]:
    rows = model.read_jsonl(METRICS_NAME)
    curve = [(row["iteration"], row["loss"]) for row in rows if "loss" in row]
    validation = [(row["iteration"], row["validation_loss"]) for row in rows if "validation_loss" in row]
    return {
        "first_loss": curve[0][1],
        "last_loss": curve[-1][1],
        "loss": curve,
        "validation_loss": validation,
    }


def _weights(model: Manifest) -> int:
    """Bytes of the model itself; the same in another format beside it doesn't count."""
    paths = {entry.path: entry.bytes for entry in model.files if entry.path.endswith(".safetensors")}
    return sum(size for path, size in paths.items() if path.startswith("model/"))
