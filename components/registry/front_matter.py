"""The YAML at the head of a model card, by which the Hugging Face hub files a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from components.platform.manifest import Manifest
from components.registry.settings import RegistrySettings

TAGS = ["medical", "meditron", "awq", "4-bit", "research-only"]
QUANTIZED = "awq"
_HUB_DATASET = re.compile(r"hf://datasets/([^/@]+/[^/@]+)")


def front_matter(settings: RegistrySettings, results: Sequence[Mapping[str, Any]], corpora: Sequence[Manifest]) -> str:
    """YAML without the lines of dashes around it; `corpora` are all that the model has read."""
    files = [name for corpus in corpora for name in corpus.made_by.get("sources", {})]
    languages = [name for corpus in corpora for name in corpus.made_by["settings"].get("languages") or ()]
    fields = {
        "license": settings.licence,
        "license_name": "see-the-model-card" if settings.licence == "other" else None,
        "language": list(dict.fromkeys(languages)),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": settings.base_model,
        "datasets": sorted({found[1] for name in files if (found := _HUB_DATASET.match(name))}),
        "tags": TAGS,
        "model-index": [{"name": settings.model_name, "results": _results(results)}],
    }
    present = {name: value for name, value in fields.items() if value}
    return yaml.safe_dump(present, sort_keys=False, allow_unicode=True).strip()


def _results(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Scores of the model that is handed out: the quantized one."""
    return [
        {
            "task": {"type": "question-answering", "name": f"Multiple-choice questions, {row['mode']}"},
            "dataset": {"name": row["benchmark"], "type": row["benchmark"]},
            "metrics": [{"type": "accuracy", "name": row["mode"], "value": round(row["accuracy"], 4)}],
        }
        for row in rows
        if row["model"] == QUANTIZED
    ]
