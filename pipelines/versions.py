"""Which code this is: a hash of its text, and the commit and package version that a person can look up."""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
from functools import cache
from pathlib import Path

from components.platform.stage import CODE_SUFFIXES

ROOT = Path(__file__).parents[1]
PACKAGES = ("components", "pipelines")
NOT_CODE = ("pipelines/recipes/", "pipelines/sample/")  # inputs, which are accounted for by themselves


@cache
def code_version() -> str:
    """SHA-256 (16 hex digits) of all code of the project: with or without git, with or without local changes."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in CODE_SUFFIXES and not name.startswith(NOT_CODE):
                digest.update(f"{name}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def commit() -> str | None:
    """The git commit of this checkout, with "-dirty" after local changes; None where the code is not in git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git on this machine
        return None
    return answer.stdout.strip() or None


def package_version() -> str:
    return importlib.metadata.version("meditron-pipelines")
