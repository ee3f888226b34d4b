"""Whether what a version was made from is still there, and still the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from components.platform import storage
from components.platform.errors import InputError
from components.platform.manifest import Manifest
from components.registry.lineage import Artifact, File


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what is gone or changed.

    Attributes:
        artifacts, files: how many are as they were.
        unchecked: source files that were not looked at, for they lie on a hub, whose commits never change.
        problems: one line for each.
    """

    artifacts: int
    files: int
    unchecked: int
    problems: tuple[str, ...]


def verify(artifacts: Mapping[str, Artifact], data: str) -> Verification:
    """Look at all artifacts and source files.

    Files on this machine are hashed. Of an artifact on S3, names and sizes are compared; of a source file there, the
    ETag.

    Args:
        artifacts: as `lineage.trace` gives them.
        data: root of the source files.
    """
    spoilt = {digest: _spoilt(artifact) for digest, artifact in artifacts.items()}
    files = {(file.name, file.digest): file for artifact in artifacts.values() for file in artifact.files()}
    reachable = [file for file in files.values() if not file.digest.startswith("hub:")]
    changed = list(_changed(reachable, data))
    return Verification(
        artifacts=sum(problem is None for problem in spoilt.values()),
        files=len(reachable) - len(changed),
        unchecked=len(files) - len(reachable),
        problems=tuple([problem for problem in spoilt.values() if problem] + changed),
    )


def _spoilt(artifact: Artifact) -> str | None:
    if artifact.found == "nowhere":
        return f"{artifact.role} {artifact.digest[:12]}: not to be found: {artifact.problem}"
    if artifact.found == "mlflow":
        return f"{artifact.role} {artifact.digest[:12]}: only MLflow's copy of its manifest is left: {artifact.problem}"
    try:
        _check_files(artifact.manifest)
    except InputError as error:
        return f"{artifact.role} {artifact.digest[:12]}: {error}"
    return None


def _check_files(manifest: Manifest) -> None:
    """Raises InputError when a file is gone or changed."""
    if not storage.is_s3(manifest.uri):
        manifest.local()
        return
    sizes = {found.name: found.bytes for found in storage.listed(manifest.uri, "**/*")}
    for entry in manifest.files:
        if sizes.get(entry.path) != entry.bytes:
            now = f"{sizes[entry.path]} bytes" if entry.path in sizes else "missing"
            raise InputError(f"{storage.join(manifest.uri, entry.path)}: {now}, the manifest says {entry.bytes} bytes")


def _changed(files: Iterable[File], data: str) -> Iterable[str]:
    for file in files:
        try:
            [found] = storage.find(data, file.name)
        except InputError:
            yield f"{file.name}: gone from {data}"
            continue
        now = f"etag:{found.etag}:{found.bytes}" if found.etag else f"sha256:{storage.sha256(Path(found.location))}"
        if now.partition(":")[0] != file.digest.partition(":")[0]:
            yield f"{file.name}: can't be compared: its {file.digest.partition(':')[0]} was noted, this place has {now}"
        elif now != file.digest:
            yield f"{file.name}: changed: {now}, not {file.digest}"
