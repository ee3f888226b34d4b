"""Lineage: from a registered version back to every file that it was made from.

A version's tags say where the artifacts behind it lie; their manifests say what they were made from in turn. Each
step is checked by digest. A manifest that is gone from its place is looked up among what MLflow keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from components.platform.errors import InputError
from components.platform.manifest import Manifest

FIRST = "corpus"
"""The role that the chain begins with: what it was made from are parts of its own, and source files."""

URI, DIGEST, CODE = ".uri", ".digest", ".code"
SOURCES = "sources.json"
OTHER_FILES = "tokenizer, evaluation sets"
"""What a corpus reads that is no source of it."""


def lineage_tags(artifacts: dict[str, Manifest]) -> dict[str, str]:
    """Tags of a model version: digest, place and code of each artifact behind it.

    `artifacts` maps a role ("corpus", "pretrained", "tuned", "quantized", ...) to its manifest.
    """
    tags: dict[str, str] = {}
    for role, manifest in artifacts.items():
        tags[f"{role}{DIGEST}"] = manifest.digest
        tags[f"{role}{URI}"] = manifest.uri
        tags[f"{role}{CODE}"] = str(manifest.made_by.get("code", ""))
    return tags


def check_chain(artifacts: dict[str, Manifest], earlier: Iterable[Manifest] = ()) -> list[str]:
    """Breaks in the chain: artifacts that were not made from the ones they stand next to (empty when all fit).

    `earlier` are those of runs that this one goes on from: the corpora before, and the pretrained model.
    """
    digests = {manifest.digest for manifest in (*artifacts.values(), *earlier)}
    return [
        f"{role} was made from {name} {digest[:12]}, which is not part of this run"
        for role, manifest in artifacts.items()
        if role != FIRST
        for name, digest in manifest.made_by.get("inputs", {}).items()
        if digest not in digests
    ]


@dataclass(frozen=True)
class File:
    """A source file.

    Attributes:
        bytes: its size; None where the artifact was made before sizes were noted.
        digest: as `platform.data.SourceFile` has it: `sha256:HEX`, `etag:...` or `hub:...`.
    """

    name: str
    bytes: int | None
    digest: str


@dataclass(frozen=True)
class Artifact:
    """One result on the way.

    Attributes:
        role: of the first that asked for it, such as "tuned".
        found: where its manifest was read: at its place, among what MLflow keeps, or nowhere.
        problem: why it was not found at its place.
        inputs: digest of each whole artifact it was made from, by role.
        parts: digest and place of each part of its own that it was put together from, by role.
        sources: its source files, by the source they belong to.
    """

    role: str
    digest: str
    place: str
    found: Literal["place", "mlflow", "nowhere"]
    problem: str | None
    manifest: Manifest | None
    inputs: dict[str, str]
    parts: dict[str, tuple[str, str | None]]
    sources: dict[str, tuple[File, ...]]

    @property
    def code(self) -> str:
        return str(self.manifest.made_by.get("code", "")) if self.manifest else ""

    def files(self) -> Iterator[File]:
        for files in self.sources.values():
            yield from files


def trace(tags: dict[str, str], recorded: Callable[[str], Manifest | None]) -> dict[str, Artifact]:
    """All artifacts behind a version, by digest.

    Args:
        tags: the version's.
        recorded: finds a manifest by its digest when it is gone from its place.
    """
    roles = [tag.removesuffix(URI) for tag in tags if tag.endswith(URI)]
    waiting = [(role, tags[role + DIGEST], tags[role + URI]) for role in roles]
    found: dict[str, Artifact] = {}
    while waiting:
        role, digest, place = waiting.pop(0)
        if digest in found:
            continue
        artifact = found[digest] = _artifact(role, digest, place, recorded)
        if artifact.manifest:
            places = artifact.manifest.made_by.get("places", {})
            waiting += [(name, one, places.get(name, "")) for name, one in artifact.inputs.items()]
    return found


def source_files(corpus: Manifest) -> dict[str, tuple[File, ...]]:
    """Files of an artifact by the source that they belong to."""
    sizes = corpus.made_by.get("source_bytes", {})
    files = {name: File(name, sizes.get(name), digest) for name, digest in corpus.made_by.get("sources", {}).items()}
    if not files:
        return {}
    if not corpus.has(SOURCES):
        return {"": tuple(files.values())}
    try:
        rows = corpus.read_json(SOURCES)
    except (OSError, InputError):  # the manifest is all that is left
        return {"": tuple(files.values())}
    grouped = {row["source"]: tuple(files[name] for name in row["files"]) for row in rows}
    taken = {file.name for group in grouped.values() for file in group}
    others = tuple(file for name, file in files.items() if name not in taken)
    return grouped | ({OTHER_FILES: others} if others else {})


def _artifact(role: str, digest: str, place: str, recorded: Callable[[str], Manifest | None]) -> Artifact:
    manifest, problem = _at_place(digest, place)
    found: Literal["place", "mlflow", "nowhere"] = "place"
    if manifest is None:
        manifest = recorded(digest)
        found = "mlflow" if manifest else "nowhere"
    if manifest is None:
        return Artifact(role, digest, place, found, problem, None, {}, {}, {})
    made_by = manifest.made_by
    places, inputs, parts = made_by.get("places", {}), {}, {}
    for name, one in made_by.get("inputs", {}).items():
        if is_part(manifest.kind, name, places.get(name)):
            parts[name] = (one, places.get(name))
        else:
            inputs[name] = one
    return Artifact(role, digest, place, found, problem, manifest, inputs, parts, source_files(manifest))


def is_part(kind: str, role: str, place: str | None) -> bool:
    """Whether an input is a part of the artifact's own making, such as a shard: its kind begins with the artifact's."""
    lies_in = place.rstrip("/").split("/")[-2] if place else role
    return lies_in.startswith(f"{kind}-")


def _at_place(digest: str, place: str) -> tuple[Manifest | None, str | None]:
    if not place:
        return None, "its place was not noted"
    try:
        manifest = Manifest.load(place)
    except InputError as error:
        return None, str(error)
    if manifest.digest != digest:
        return None, f"{place}: another result lies here by now, with the digest {manifest.digest[:12]}"
    return manifest, None
