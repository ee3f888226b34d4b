"""Source files: what a recipe names relative to its data root, found, fetched and fingerprinted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from components.platform import storage
from components.platform.context import PlatformSettings
from components.platform.manifest import scratch


@dataclass(frozen=True)
class SourceFile:
    """One input file: its name below the data root, where it can be opened, size in bytes, hex SHA-256."""

    name: str
    path: Path
    bytes: int
    sha256: str


def resolve(platform: PlatformSettings, pattern: str) -> list[SourceFile]:
    """Files below the data root that match `pattern` (a relative name or glob), sorted by name.

    Raises:
        InputError: nothing matches.
    """
    names = storage.find(platform.data, pattern)
    folder = Path(platform.data)
    if storage.is_s3(platform.data):
        folder = scratch() / "sources" / platform.data.removeprefix("s3://")
        storage.download(platform.data, [name for name in names if not (folder / name).exists()], folder)
    paths = [folder / name for name in names]
    digests = storage.sha256_of_all(paths)
    return [
        SourceFile(name, path, path.stat().st_size, digest)
        for name, path, digest in zip(names, paths, digests, strict=True)
    ]
