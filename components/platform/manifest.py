"""Manifests: the small JSON file that stands for a large folder of results.

A stage hands on a manifest, never the bytes themselves. It lists every file with its size and SHA-256, and says
what made them. A folder without a `manifest.json` is unfinished.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any

from components.platform import storage
from components.platform.errors import InputError

MANIFEST_NAME = "manifest.json"

# Files that tell how the work went. They carry times and rates, so they are listed and checked like all others
# but don't count towards the identity of the result: the same weights trained twice have the same digest.
REPORT_NAME, METRICS_NAME, PROFILE_NAME, USAGE_NAME = "report.html", "metrics.jsonl", "profile.json", "usage.json"
CARD_NAME = "model_card.md"
RECORDS = frozenset({REPORT_NAME, METRICS_NAME, PROFILE_NAME, USAGE_NAME, CARD_NAME})

_KIND = re.compile(r"\w[\w.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileEntry:
    """One file of an artifact: path below its folder, size in bytes, hex SHA-256."""

    path: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if not isinstance(self.path, str) or self.path in ("", "."):
            raise ValueError(f"path {self.path!r}: expected the name of a file")
        if self.path.startswith("/") or ".." in self.path.split("/"):
            raise ValueError(f"{self.path}: leads out of the artifact's folder")
        if PurePosixPath(self.path).as_posix() != self.path or "\0" in self.path:
            raise ValueError(f"{self.path!r}: expected a plain path, such as model/config.json")
        if type(self.bytes) is not int or self.bytes < 0:
            raise ValueError(f"{self.path}: bytes is {self.bytes!r}; expected its size")
        if not isinstance(self.sha256, str) or not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"{self.path}: sha256 is {self.sha256!r}; expected 64 hex digits")


@dataclass(frozen=True)
class Manifest:
    """What an artifact is, where it lies, and what made it.

    Attributes:
        kind: the stage that made it, such as "corpus" or "sft".
        uri: folder path or `s3://` prefix that the file paths are relative to.
        files: every file, sorted by path.
        made_by: stage key, settings, code version, and the digests of the inputs.
        metadata: small facts that later stages and people want to see without opening the artifact.
    """

    kind: str
    uri: str
    files: tuple[FileEntry, ...]
    made_by: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or not _KIND.fullmatch(self.kind):  # it names a folder for copies
            raise ValueError(f"kind is {self.kind!r}; expected a name such as corpus-plan")
        if not isinstance(self.uri, str) or not self.uri:
            raise ValueError(f"uri is {self.uri!r}; expected where the artifact lies")
        for name in ("made_by", "metadata"):
            if not isinstance(value := getattr(self, name), dict):
                raise ValueError(f"{name} is {value!r}; expected an object")
        path, times = max(Counter(entry.path for entry in self.files).items(), key=itemgetter(1), default=("", 0))
        if times > 1:
            raise ValueError(f"{path}: listed {times} times")

    @property
    def digest(self) -> str:
        """Hex SHA-256 of kind and content; the same wherever the artifact lies."""
        identity = [[f.path, f.sha256] for f in self.files if f.path not in RECORDS]
        return hashlib.sha256(json.dumps([self.kind, identity]).encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """Size of all files together."""
        return sum(entry.bytes for entry in self.files)

    @property
    def numbers(self) -> dict[str, float]:
        """Those of the metadata, as MLflow takes them for metrics."""
        return {name: value for name, value in self.metadata.items() if isinstance(value, int | float)}

    @classmethod
    def of_folder(cls, kind: str, folder: Path, **facts: dict[str, Any]) -> Manifest:
        """List and hash all files of a finished folder (names that start with a dot are not part of it)."""
        paths = sorted(
            path
            for path in folder.rglob("*")
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        )
        names = [path.relative_to(folder).as_posix() for path in paths]
        entries = [
            FileEntry(name, path.stat().st_size, digest)
            for name, path, digest in zip(names, paths, storage.sha256_of_all(paths), strict=True)
            if name != MANIFEST_NAME
        ]
        return cls(kind, str(folder), tuple(entries), **facts)

    def save(self, path: Path | str) -> None:
        record = asdict(self)
        record["checksum"] = _checksum(record)
        storage.write_atomically(Path(path), json.dumps(record, indent=1, sort_keys=True))

    @classmethod
    def load(cls, location: Path | str) -> Manifest:
        """Read a manifest from a file, a folder or an S3 prefix.

        Raises:
            InputError: there is none, it is not a manifest, or it was changed; or a path in it leads out of its folder.
        """
        location = str(location)
        if not location.endswith(".json") and (storage.is_s3(location) or Path(location).is_dir()):
            location = storage.join(location, MANIFEST_NAME)
        try:
            record = json.loads(storage.read_text(location))
            checksum = record.pop("checksum", None)
            if checksum not in (None, _checksum(record)):  # None: written by hand
                raise ValueError("its checksum is that of another content")
            return cls.of_record(record)
        except FileNotFoundError:
            raise InputError(f"{location}: no such manifest; the stage that makes it has not finished") from None
        except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
            raise InputError(
                f"{location}: not a manifest, or a damaged one: {error!r}; restore it, or remove its folder and run "
                "again: the result is made anew"
            ) from None

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Manifest:
        """What `dataclasses.asdict` made a record of.

        Raises:
            TypeError, KeyError: it is no such record.
        """
        return cls(**{**record, "files": tuple(FileEntry(**entry) for entry in record["files"])})

    @classmethod
    def load_all(cls, list_path: Path | str) -> list[Manifest]:
        """The manifests that `save_list` noted down."""
        return [cls.load(uri) for uri in json.loads(Path(list_path).read_text(encoding="utf-8"))]

    def local(self, below: str = "") -> Path:
        """The artifact as a verified folder on this machine; fetched from S3 when it lies there.

        Args:
            below: beginning of the paths that are wanted, such as "tokens/train/"; others are left alone.

        Raises:
            InputError: a file is missing or its size or SHA-256 differs from the manifest.
        """
        return self._checked([entry for entry in self.files if entry.path.startswith(below)])

    def has(self, path: str) -> bool:
        return any(entry.path == path for entry in self.files)

    def fetch(self, path: str) -> Path:
        """One file of the artifact on this machine, verified, without fetching the others.

        Raises:
            InputError: the manifest lists no such file, or as `local`.
        """
        entries = [entry for entry in self.files if entry.path == path]
        if not entries:
            raise InputError(f"{self.uri}: the manifest of this {self.kind} lists no {path}")
        return self._checked(entries) / path

    def read_json(self, path: str) -> Any:
        return json.loads(self.fetch(path).read_text(encoding="utf-8"))

    def read_jsonl(self, path: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.fetch(path).read_text(encoding="utf-8").splitlines()]

    def _checked(self, entries: Sequence[FileEntry]) -> Path:
        """The folder on this machine in which these files are, as they should be."""
        if not storage.is_s3(self.uri):
            self._verify(Path(self.uri), entries, f"restore it, or remove {self.uri} and run again: it is made anew")
            return Path(self.uri)
        folder = scratch() / self.kind / self.digest[:16]
        storage.download(self.uri, [entry.path for entry in entries if not (folder / entry.path).exists()], folder)
        try:
            self._verify(folder, entries, "run again: it is fetched anew")
        except InputError:
            shutil.rmtree(folder)
            raise
        return folder

    def _verify(self, folder: Path, entries: Sequence[FileEntry], remedy: str) -> None:
        for entry in entries:
            path = folder / entry.path
            if not path.is_file():
                raise InputError(f"{path}: missing, though the manifest of this {self.kind} lists it; {remedy}")
            if path.stat().st_size != entry.bytes:
                raise InputError(f"{path}: {path.stat().st_size} bytes, the manifest says {entry.bytes}; {remedy}")
        digests = storage.sha256_of_all([folder / entry.path for entry in entries])
        for entry, digest in zip(entries, digests, strict=True):
            if digest != entry.sha256:
                raise InputError(
                    f"{folder / entry.path}: SHA-256 differs from the manifest: the file was changed; {remedy}"
                )


def _checksum(record: dict[str, Any]) -> str:
    """Hex SHA-256 of a manifest's content."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def save_list(manifests: Sequence[Manifest], path: Path | str) -> None:
    """Note down where some artifacts lie: what a step hands on that makes a part of many."""
    storage.write_atomically(Path(path), json.dumps([manifest.uri for manifest in manifests]))


def scratch() -> Path:
    """Where copies of remote files and unfinished uploads lie on this machine: MEDITRON_SCRATCH, or a folder of ours.

    Raises:
        InputError: others of this machine could put files into the folder, which we would take for our own.
    """
    if given := os.environ.get("MEDITRON_SCRATCH"):
        return Path(given)
    folder = Path(tempfile.gettempdir()) / f"meditron-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise InputError(f"{folder}: not a folder that only you can write to; remove it, or set MEDITRON_SCRATCH")
    return folder
