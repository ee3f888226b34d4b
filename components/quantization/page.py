"""The stage's HTML report."""

from __future__ import annotations

from typing import Any

from components.platform.report import Page, new_figure
from components.quantization.settings import QuantizationSettings


def page(settings: QuantizationSettings, quality: dict[str, Any]) -> Page:
    """Size and fidelity of the quantized model; `quality` is what `quality.json` holds."""
    result = Page("AWQ quantization")
    saved = 1 - quality["bytes_after"] / quality["bytes_before"]
    result.text(
        f"Linear layers are stored in 4 bits (asymmetric, groups of {settings.group_size}); embeddings and output "
        f"head keep their precision. The weights take {quality['bytes_after']:,} instead of "
        f"{quality['bytes_before']:,} bytes: {saved:.1%} less."
    )
    result.table(
        ["", "original", "AWQ", "round-to-nearest"],
        [
            ["bytes of weights", quality["bytes_before"], quality["bytes_after"], quality["bytes_after"]],
            ["perplexity", quality["perplexity_before"], quality["perplexity_after"], quality["rounding_perplexity"]],
            ["KL divergence per token (nats)", 0, quality["kl_per_token"], quality["rounding_kl_per_token"]],
            ["same likeliest token", 1, quality["top1_agreement"], quality["rounding_top1_agreement"]],
        ],
        f"Measured on {quality['validation_tokens']:,} tokens of {settings.validation_documents} held-out documents; "
        f"calibrated on {quality['calibration_tokens']:,} tokens of {settings.calibration_documents} others",
    )
    figure = new_figure(height=1.6)
    axes = figure.subplots()
    kl = [quality["kl_per_token"], quality["rounding_kl_per_token"]]
    axes.barh(["AWQ", "round-to-nearest"], kl, color=["#2a6f97", "#b8c4ce"])
    axes.invert_yaxis()
    axes.set_xlabel("KL divergence from the original, nats per token")
    result.figure(figure, "Shorter is closer to the original model")
    return result
