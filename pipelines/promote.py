"""`meditron promote`: a person makes a version champion, forward or back, and says why."""

from __future__ import annotations

import getpass
import json

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.platform.errors import InputError
from components.platform.tracking.models import ModelRegistry, RegisteredVersion
from components.platform.tracking.tracker import tracking_uri
from components.registry.contest import DECISION, DECISION_URI
from components.registry.promotion import CHAMPION, PROMOTION_TAG, promote
from pipelines.recipe import Recipe


def promote_by_hand(recipe: Recipe, number: int, reason: str) -> None:
    """Make a version champion, whatever the gate said of it.

    Raises:
        InputError: no reason is given, there is no such version, or it is the champion.
    """
    if not reason.strip():
        raise InputError("--reason: expected why this version is to be champion; it is kept with the version")
    name = recipe.registry.model_name
    registry = ModelRegistry(tracking_uri(recipe.platform))
    version, champion = registry.get(name, number), registry.find(name, CHAMPION)
    if champion is not None and champion.version == number:
        raise InputError(f"{name}: version {number} is the champion already")
    promote(registry, version, instead_of=champion, by=getpass.getuser(), reason=reason.strip())
    before = "there was none" if champion is None else f"instead of version {champion.version}"
    print(f"{name} version {number} is champion ({before}); the gate had it {version.tags.get(DECISION, 'not judged')}")
    if page := version.tags.get(DECISION_URI):
        print(f"its decision: {page}/decision.html")


def show_versions(recipe: Recipe) -> None:
    """Print all versions: what the gate decided, and when, by whom and why each became champion."""
    name = recipe.registry.model_name
    versions = ModelRegistry(tracking_uri(recipe.platform)).versions(name)
    if not versions:
        raise InputError(f"MLflow at {recipe.platform.tracking.uri} has no model {name}; run the recipe first")
    table = Table(title=f"Versions of {name}", title_justify="left", box=None, pad_edge=False)
    for column in ("version", "aliases", "the gate's decision", "champion since, by whom and why"):
        table.add_column(column)
    for version in versions:
        promotions = escape("\n".join(_promotions(version)))
        table.add_row(str(version.version), ", ".join(version.aliases), version.tags.get(DECISION, ""), promotions)
    Console(width=120, highlight=False).print(table)


def _promotions(version: RegisteredVersion) -> list[str]:
    """Each time it became champion, the first one first."""
    promotions = [(key, json.loads(note)) for key, note in version.tags.items() if key.startswith(PROMOTION_TAG)]
    return [f"{key.removeprefix(PROMOTION_TAG)}  {note['by']}: {note['reason']}" for key, note in sorted(promotions)]
