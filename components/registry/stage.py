"""Bring a run's results together: summary, report and model card, checked to belong to one another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from components.platform.context import PlatformSettings
from components.platform.errors import InputError
from components.platform.manifest import CARD_NAME, REPORT_NAME, Manifest
from components.platform.predecessor import Predecessor, all_corpora
from components.platform.stage import produce
from components.platform.storage import write_atomically
from components.registry.card import model_card
from components.registry.lineage import check_chain
from components.registry.page import page
from components.registry.settings import RegistrySettings
from components.registry.summary import summarise


def run(
    settings: RegistrySettings,
    platform: PlatformSettings,
    corpus: Manifest,
    pretrained: Manifest,
    tuned: Manifest,
    quantized: Manifest,
    pretrained_evaluation: Manifest,
    tuned_evaluation: Manifest,
    quantized_evaluation: Manifest,
    predecessor: Predecessor | None = None,
) -> Manifest:
    """Write `summary.json`, `report.html` and `model_card.md` about one trained and quantized model.

    Args:
        predecessor: the version that the run goes on from, if it does.

    Raises:
        InputError: the artifacts were not made from one another.
    """
    artifacts = {
        "corpus": corpus,
        "pretrained": pretrained,
        "tuned": tuned,
        "quantized": quantized,
        "pretrained_evaluation": pretrained_evaluation,
        "tuned_evaluation": tuned_evaluation,
        "quantized_evaluation": quantized_evaluation,
    }
    earlier = all_corpora(predecessor)
    breaks = check_chain(artifacts, [*earlier, Manifest.load(predecessor.pretrained)] if predecessor else [])
    if breaks:
        raise InputError("these artifacts don't belong to one run: " + "; ".join(breaks))

    def work(folder: Path) -> dict[str, Any]:
        evaluations = [pretrained_evaluation, tuned_evaluation, quantized_evaluation]
        summary = summarise(corpus, pretrained, tuned, quantized, evaluations)
        write_atomically(folder / "summary.json", json.dumps(summary, indent=1))
        write_atomically(folder / CARD_NAME, model_card(settings, summary, artifacts, earlier))
        write_atomically(folder / REPORT_NAME, page(settings.model_name, summary).html())
        results = {
            f"{row['benchmark']}/{row['mode']}/{row['model']}/accuracy": row["accuracy"] for row in summary["results"]
        }
        return {"last_loss": summary["training"]["sft"]["last_loss"], **results}

    return produce("registry", settings, artifacts, platform, work)
