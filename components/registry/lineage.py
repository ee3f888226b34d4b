"""Lineage: which artifact was made from which, as MLflow tags that lead back to every input file."""

from __future__ import annotations

from components.platform.manifest import Manifest

FIRST = "corpus"
"""The role that the chain begins with: what it was made from are parts of its own, and source files."""


def lineage_tags(artifacts: dict[str, Manifest]) -> dict[str, str]:
    """Tags of a model version: digest, place and code of each artifact behind it, and its source files' hash.

    `artifacts` maps a role ("corpus", "pretrained", "tuned", "quantized", ...) to its manifest.
    """
    tags: dict[str, str] = {}
    for role, manifest in artifacts.items():
        tags[f"{role}.digest"] = manifest.digest
        tags[f"{role}.uri"] = manifest.uri
        tags[f"{role}.code"] = str(manifest.made_by.get("code", ""))
    return tags


def check_chain(artifacts: dict[str, Manifest]) -> list[str]:
    """Breaks in the chain: artifacts that were not made from the ones they stand next to (empty when all fit)."""
    digests = {manifest.digest for manifest in artifacts.values()}
    return [
        f"{role} was made from {name} {digest[:12]}, which is not part of this run"
        for role, manifest in artifacts.items()
        if role != FIRST
        for name, digest in manifest.made_by.get("inputs", {}).items()
        if digest not in digests
    ]
