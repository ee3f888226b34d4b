"""The model card, written from what the run measured and what its manifests say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from components.platform.advisory import ADVISORY
from components.platform.base_model import BaseModel
from components.platform.energy import energy
from components.platform.manifest import Manifest
from components.registry.card_facts import refusals, starts, training
from components.registry.data_read import contamination, sources, token_table
from components.registry.front_matter import front_matter
from components.registry.settings import RegistrySettings


def model_card(
    settings: RegistrySettings,
    summary: Mapping[str, Any],
    artifacts: Mapping[str, Manifest],
    earlier: Sequence[Manifest] = (),
) -> str:
    """Markdown in the layout Hugging Face expects of a README.md: data, training, results, limits, energy, lineage.

    The data of a retrained model are those of its whole chain; training and energy are this run's.

    Args:
        earlier: the corpora behind the version that the run goes on from.
    """
    template = (resources.files(__package__) / "card.md.jinja").read_text(encoding="utf-8")
    options = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(autoescape=False, **options)  # noqa: S701 - it writes Markdown
    environment.filters |= {"thousands": "{:,}".format, "fixed": lambda value, digits=3: f"{value:.{digits}f}"}
    corpora = [artifacts["corpus"], *earlier]
    trained = {"pretrain": artifacts["pretrained"], "sft": artifacts["tuned"]}
    return environment.from_string(template).render(
        front_matter=front_matter(settings, summary["results"], corpora),
        name=settings.model_name,
        advisory=ADVISORY,
        base=BaseModel.of(artifacts["pretrained"]),
        base_model=settings.base_model,
        tokens=token_table(corpora),
        new_tokens=token_table(corpora[:1]),
        goes_on_from=artifacts["pretrained"].made_by["inputs"].get("base"),
        sources=sources(corpora),
        contamination=contamination(corpora),
        scrubbed=all(corpus.made_by["settings"]["scrub_contacts"] for corpus in corpora),
        trained={stage: training(model) for stage, model in trained.items()},
        awq=artifacts["quantized"].made_by["settings"],
        refusals=refusals(artifacts["quantized_evaluation"]),
        energy={stage: energy(starts(model), settings.energy) for stage, model in trained.items()},
        assumed=settings.energy,
        digests={role: manifest.digest for role, manifest in artifacts.items()},
        **{name: summary[name] for name in ("training", "sizes", "quality", "results")},
    )


def without_front_matter(card: Path) -> str:
    """The part of a card that is for people."""
    return card.read_text(encoding="utf-8").split("\n---\n", 1)[1].lstrip()
