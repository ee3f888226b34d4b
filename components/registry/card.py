"""The model card, written from what the run measured."""

from __future__ import annotations

from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from components.platform.advisory import ADVISORY
from components.platform.manifest import Manifest


def model_card(name: str, summary: dict[str, Any], artifacts: dict[str, Manifest]) -> str:
    """Markdown in the layout Hugging Face expects of a README.md: data, training, results, limits."""
    template = (resources.files(__package__) / "card.md.jinja").read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    return environment.from_string(template).render(
        name=name, advisory=ADVISORY, digests={role: m.digest for role, m in artifacts.items()}, **summary
    )
