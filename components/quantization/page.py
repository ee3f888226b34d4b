"""The stage's HTML report."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from components.platform.report import Page, new_figure
from components.quantization.gate import judge
from components.quantization.settings import QuantizationSettings

COLOURS = ("#2a6f97", "#c8553d", "#588157", "#b8c4ce")


def page(settings: QuantizationSettings, quality: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> Page:
    """Size, fidelity and the gate's verdict; `quality` and `layers` are what `quality.json` and `layers.json` hold."""
    result = Page("AWQ quantization")
    saved = 1 - quality["bytes_after"] / quality["bytes_before"]
    result.text(
        f"Linear layers are stored in 4 bits (asymmetric, groups of {settings.group_size}); embeddings and output "
        f"head keep their precision. The weights take {quality['bytes_after']:,} instead of "
        f"{quality['bytes_before']:,} bytes: {saved:.1%} less."
    )
    _gate(result, settings, quality)
    _fidelity(result, settings, quality)
    _sizes(result, quality)
    if layers:
        _layers(result, layers)
    return result


def _gate(result: Page, settings: QuantizationSettings, quality: Mapping[str, Any]) -> None:
    verdicts = judge(settings.gate, quality)
    passed = all(verdict.passed for verdict in verdicts)
    result.heading(f"Quality gate: {'passed' if passed else 'failed'}")
    rows = [[v.limit_name, v.limit, v.figure, "passed" if v.passed else "failed"] for v in verdicts]
    result.table(["limit", "set to", "measured", ""], rows, "What the recipe allowed when this report was written")


def _fidelity(result: Page, settings: QuantizationSettings, quality: Mapping[str, Any]) -> None:
    result.heading("Fidelity to the original")
    result.table(
        ["", "original", "AWQ", "round-to-nearest"],
        [
            ["perplexity", quality["perplexity_before"], quality["perplexity_after"], quality["rounding_perplexity"]],
            ["KL divergence per token (nats)", 0, quality["kl_per_token"], quality["rounding_kl_per_token"]],
            ["same likeliest token", 1, quality["top1_agreement"], quality["rounding_top1_agreement"]],
        ],
        f"Measured on {quality['validation_tokens']:,} tokens of {settings.validation_documents} held-out documents; "
        f"calibrated on {quality['calibration_tokens']:,} tokens of {settings.calibration_documents} others and of "
        f"{settings.calibration_conversations} conversations",
    )
    figure = new_figure(height=1.6)
    axes = figure.subplots()
    kl = [quality["kl_per_token"], quality["rounding_kl_per_token"]]
    axes.barh(["AWQ", "round-to-nearest"], kl, color=[COLOURS[0], COLOURS[-1]])
    axes.invert_yaxis()
    axes.set_xlabel("KL divergence from the original, nats per token")
    result.figure(figure, "Shorter is closer to the original model")


def _sizes(result: Page, quality: Mapping[str, Any]) -> None:
    result.heading("Size")
    folders = {
        "original": "bytes_before",
        "compressed-tensors (model/)": "bytes_after",
        "gemm (model-gemm/)": "bytes_gemm",
    }
    rows = [
        [name, quality[key], f"{quality[key] / quality['bytes_before']:.1%}"]
        for name, key in folders.items()
        if key in quality
    ]
    result.table(["format", "bytes of weights", "of the original"], rows)


def _layers(result: Page, layers: Sequence[Mapping[str, Any]]) -> None:
    """How much of rounding's error AWQ leaves, over the depth of the model."""
    result.heading("Layers")
    curves: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in layers:
        depth = re.search(r"\.(\d+)\.", row["layer"])
        if depth and row["rounding"] > 0:
            curves[row["layer"].rpartition(".")[2]].append((int(depth[1]), row["awq"] / row["rounding"]))
    figure = new_figure()
    axes = figure.subplots()
    for (name, points), colour in zip(curves.items(), COLOURS, strict=False):
        axes.plot(*zip(*points, strict=True), ".-", color=colour, label=name)
    axes.set(xlabel="layer", ylabel="AWQ / round-to-nearest", ylim=(0, None))
    axes.legend(frameon=False, title="scaled outputs of", ncols=2)
    result.figure(figure, "Squared error of what follows, on the calibration samples: below 1, AWQ is closer")
