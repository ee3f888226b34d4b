"""Champions: the version in use, the one before, and who made it so and why."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from components.platform.errors import UserError
from components.platform.tracking.models import ModelRegistry, RegisteredVersion

CHALLENGER, CHAMPION, PREVIOUS = "challenger", "champion", "previous-champion"
"""Aliases: the newest version, the one in use, and the one that was in use before."""

PROMOTION_TAG = "meditron.promoted."
"""Tags of a version that begin so tell when it became champion; one for each time, so none is ever lost."""


def promote(
    registry: ModelRegistry,
    version: RegisteredVersion,
    instead_of: RegisteredVersion | None,
    by: str,
    reason: str,
) -> None:
    """Make a version champion, and note when, by whom, why and instead of which.

    Raises:
        UserError: another version has become champion since `instead_of` was looked up.
    """
    current = registry.find(version.name, CHAMPION)
    if _number(current) != _number(instead_of):
        raise UserError(
            f"{version.name}: version {_number(current)} became champion in the meantime, not version "
            f"{_number(instead_of)}; run again to compare with it"
        )
    when = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    note = {"by": by, "reason": reason, "instead_of": _number(instead_of)}
    registry.set_tags(version, {PROMOTION_TAG + when: json.dumps(note)})
    if instead_of is not None:  # before the champion changes: whoever is interrupted in between does it again
        registry.set_alias(instead_of, PREVIOUS)
    registry.set_alias(version, CHAMPION)


def _number(version: RegisteredVersion | None) -> int | None:
    return None if version is None else version.version
