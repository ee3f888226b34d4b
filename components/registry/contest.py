"""A new version meets the champion: what is compared, the decision, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from components.platform.context import PlatformSettings
from components.platform.errors import InputError
from components.platform.manifest import Manifest
from components.platform.tracking.models import ModelRegistry, RegisteredVersion
from components.registry.gate.decision import DECISION as DECISION_FILE
from components.registry.gate.decision import decide
from components.registry.gate.settings import Contest, GateSettings
from components.registry.lineage import lineage_tags
from components.registry.promotion import CHALLENGER, CHAMPION, promote

DECISION_URI, DECISION_DIGEST, DECISION = "decision.uri", "decision.digest", "decision"
BY_THE_GATE = "the gate"


@dataclass(frozen=True)
class Outcome:
    """How it went.

    Attributes:
        decision: the artifact that says why; None for a champion whose decision is no longer there.
        says: one line for people.
    """

    decision: Manifest | None
    says: str


def settle(
    registry: ModelRegistry,
    version: RegisteredVersion,
    gate: GateSettings,
    artifacts: Mapping[str, Manifest],
    platform: PlatformSettings,
) -> Outcome:
    """Make a version challenger, and champion if the rules hold; the decision is noted in its tags.

    A champion stays one; from now on others are compared with what it was asked last.

    Args:
        artifacts: what the version was made from, by role.

    Raises:
        UserError: another version became champion while this one was compared.
    """
    asked = {role: artifact for role, artifact in artifacts.items() if role.endswith("_evaluation")}
    registry.set_tags(version, lineage_tags(asked))  # a model that has its version already may have been asked anew
    champion = registry.find(version.name, CHAMPION)
    if champion is not None and champion.version == version.version:
        return Outcome(_earlier(champion), "is the champion already")
    registry.set_alias(version, CHALLENGER)
    evaluation, gone = _evaluation(champion)
    contest = Contest(
        **gate.model_dump(),
        model=version.name,
        challenger=version.version,
        champion=champion.version if champion else None,
        evidence_gone=gone,
    )
    decision = decide(contest, artifacts, evaluation, platform)
    registry.set_tags(version, {DECISION_URI: decision.uri, DECISION_DIGEST: decision.digest})
    promoted = bool(decision.metadata["promoted"])
    if promoted:
        promote(registry, version, instead_of=champion, by=BY_THE_GATE, reason=f"decision {decision.digest[:12]}")
    registry.set_tags(version, {DECISION: "promoted" if promoted else "kept as challenger"})
    return Outcome(decision, _says(decision, contest.champion))


def _says(decision: Manifest, champion: int | None) -> str:
    if decision.metadata["promoted"]:
        return "is champion: " + ("every rule holds" if champion else "there was none, and every other rule holds")
    failed = [rule["name"] for rule in decision.read_json(DECISION_FILE)["rules"] if rule["passed"] is False]
    return f"stays challenger; rules that don't hold: {', '.join(failed)}"


def _evaluation(champion: RegisteredVersion | None) -> tuple[Manifest | None, str | None]:
    """What the champion scored, as it was when it was registered; or why that can't be read."""
    if champion is None:
        return None, None
    try:
        return _verified(champion, "quantized_evaluation"), None
    except InputError as error:
        return None, str(error)


def _earlier(version: RegisteredVersion) -> Manifest | None:
    """The decision by which a version became champion, if it is still what it was."""
    try:
        return _verified(version, DECISION)
    except InputError:
        return None


def _verified(version: RegisteredVersion, role: str) -> Manifest:
    """An artifact of a version, files and all.

    Raises:
        InputError: it is gone, or was changed.
    """
    artifact = version.artifact(role)
    artifact.local()
    return artifact
