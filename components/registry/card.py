"""The model card, written from what the run measured and what its manifests say."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from components.platform.advisory import ADVISORY
from components.platform.base_model import BaseModel
from components.platform.energy import energy
from components.platform.manifest import Manifest
from components.registry.card_facts import contamination, refusals, starts, training
from components.registry.front_matter import front_matter
from components.registry.lineage import SOURCES, source_files
from components.registry.settings import RegistrySettings


def model_card(settings: RegistrySettings, summary: Mapping[str, Any], artifacts: Mapping[str, Manifest]) -> str:
    """Markdown in the layout Hugging Face expects of a README.md: data, training, results, limits, energy, lineage."""
    template = (resources.files(__package__) / "card.md.jinja").read_text(encoding="utf-8")
    options = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(autoescape=False, **options)  # noqa: S701 - it writes Markdown
    environment.filters |= {"thousands": "{:,}".format, "fixed": lambda value, digits=3: f"{value:.{digits}f}"}
    corpus, trained = artifacts["corpus"], {"pretrain": artifacts["pretrained"], "sft": artifacts["tuned"]}
    return environment.from_string(template).render(
        front_matter=front_matter(settings, summary["results"], corpus),
        name=settings.model_name,
        advisory=ADVISORY,
        base=BaseModel.of(artifacts["pretrained"]),
        base_model=settings.base_model,
        sources=corpus.read_json(SOURCES),
        files={name: len(files) for name, files in source_files(corpus).items()},
        contamination=contamination(corpus),
        scrubbed=corpus.made_by["settings"]["scrub_contacts"],
        trained={stage: training(model) for stage, model in trained.items()},
        awq=artifacts["quantized"].made_by["settings"],
        refusals=refusals(artifacts["quantized_evaluation"]),
        energy={stage: energy(starts(model), settings.energy) for stage, model in trained.items()},
        assumed=settings.energy,
        digests={role: manifest.digest for role, manifest in artifacts.items()},
        **summary,
    )


def without_front_matter(card: Path) -> str:
    """The part of a card that is for people."""
    return card.read_text(encoding="utf-8").split("\n---\n", 1)[1].lstrip()
