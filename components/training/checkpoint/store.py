"""Where checkpoints lie: a folder that all ranks share, or a prefix on S3."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from components.platform import storage
from components.platform.manifest import scratch
from components.training.checkpoint.files import flush_to_disk

MARKER = "checkpoint.json"
_NAME = re.compile(r"iteration-(\d{7})")

Entry = dict[str, str | int]
"""Size and SHA-256 of a file: {"bytes": ..., "sha256": ...}."""


class Store(Protocol):
    """Keeps checkpoints: complete ones have a marker, the others are not seen. No method is collective."""

    def draft(self, iteration: int, name: str) -> Path:
        """Where this rank writes a file before it publishes it; its folder exists."""

    def publish(self, path: Path) -> None:
        """Bring a written draft, and behind it its entry, to where the main rank finds them."""

    def entry(self, iteration: int, name: str) -> Entry | None:
        """The entry of a published file of an unfinished checkpoint; None before it is there."""

    def complete(self, iteration: int, marker: dict[str, Any]) -> None:
        """Write the marker: from now on the checkpoint is there. A damaged one of that iteration is replaced."""

    def iterations(self) -> list[int]:
        """Iterations of the complete checkpoints, newest first."""

    def location(self, iteration: int, name: str) -> str:
        """Address of a file of a complete checkpoint."""

    def measured(self, iteration: int, name: str) -> Entry:
        """What a file of a complete checkpoint is now.

        Raises:
            FileNotFoundError: it is gone.
        """

    def fetched(self, iteration: int, names: Sequence[str]) -> Iterator[Path]:
        """Files of a complete checkpoint one by one, each to be read before the next is asked for."""

    def remove(self, iteration: int) -> None:
        """Remove a checkpoint so that no one ever finds it half removed."""

    def remove_unfinished(self) -> None:
        """Remove what interrupted saves left behind; no save may be under way on any rank."""


def open_store(location: str, rank: int) -> Store:
    """The store at a folder's path or an `s3://` prefix, as `rank` uses it."""
    return S3Store(location, rank) if storage.is_s3(location) else FolderStore(Path(location))


class FolderStore:
    """A folder on storage that all ranks share. A checkpoint is written under a hidden name and gets its own last."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def draft(self, iteration: int, name: str) -> Path:
        folder = self._hidden(iteration)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def publish(self, path: Path) -> None:
        storage.write_atomically(path.with_suffix(".json"), json.dumps(measure(path)))

    def entry(self, iteration: int, name: str) -> Entry | None:
        path = (self._hidden(iteration) / name).with_suffix(".json")
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def complete(self, iteration: int, marker: dict[str, Any]) -> None:
        folder, target = self._hidden(iteration), self._path(iteration)
        for name in marker["files"]:
            (folder / name).with_suffix(".json").unlink()
        storage.write_atomically(folder / MARKER, json.dumps(marker, indent=1))
        flush_to_disk(folder)
        if target.exists():  # a damaged one that was passed over at resume
            shutil.rmtree(target)
        os.replace(folder, target)
        flush_to_disk(self._folder)

    def iterations(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        return _newest_first(path.name for path in self._folder.iterdir() if (path / MARKER).is_file())

    def location(self, iteration: int, name: str) -> str:
        return str(self._path(iteration) / name)

    def measured(self, iteration: int, name: str) -> Entry:
        return measure(self._path(iteration) / name)

    def fetched(self, iteration: int, names: Sequence[str]) -> Iterator[Path]:
        return (self._path(iteration) / name for name in names)

    def remove(self, iteration: int) -> None:
        os.replace(self._path(iteration), self._hidden(iteration))
        shutil.rmtree(self._hidden(iteration))

    def remove_unfinished(self) -> None:
        for left_behind in self._folder.glob(".iteration-*"):
            shutil.rmtree(left_behind)

    def _path(self, iteration: int) -> Path:
        return self._folder / _name(iteration)

    def _hidden(self, iteration: int) -> Path:
        return self._folder / f".{_name(iteration)}.unfinished"


class S3Store:
    """A prefix on S3, which ranks need not share a disk for.

    S3 renames nothing, but puts each object whole or not at all: so the marker is what makes a checkpoint, written
    last and removed first. Files pass through a folder of this rank in the scratch space: one whole file at a time,
    which is removed when it is uploaded, or read.
    """

    def __init__(self, root: str, rank: int) -> None:
        self._root = root
        self._scratch = scratch() / root.removeprefix("s3://") / f"of-rank-{rank:05}"
        shutil.rmtree(self._scratch, ignore_errors=True)  # of a process that was killed

    def __str__(self) -> str:
        return self._root

    def draft(self, iteration: int, name: str) -> Path:
        folder = self._scratch / _name(iteration)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def publish(self, path: Path) -> None:
        entry, target = measure(path), storage.join(self._root, path.parent.name)
        storage.upload(path.parent, {path.name: entry["sha256"]}, target)
        path.unlink()
        self._put(path.with_suffix(".json"), json.dumps(entry), target)

    def entry(self, iteration: int, name: str) -> Entry | None:
        location = self.location(iteration, Path(name).with_suffix(".json").name)
        return json.loads(storage.read_text(location)) if storage.exists(location) else None

    def complete(self, iteration: int, marker: dict[str, Any]) -> None:
        target = storage.join(self._root, _name(iteration))
        self._put(self.draft(iteration, MARKER), json.dumps(marker, indent=1), target)
        storage.delete([self.location(iteration, Path(name).with_suffix(".json").name) for name in marker["files"]])

    def iterations(self) -> list[int]:
        found = storage.listed(self._root, f"*/{MARKER}")
        return _newest_first(file.name.partition("/")[0] for file in found)

    def location(self, iteration: int, name: str) -> str:
        return storage.join(self._root, _name(iteration), name)

    def measured(self, iteration: int, name: str) -> Entry:
        size, digest = storage.fingerprint(self.location(iteration, name))
        return {"bytes": size, "sha256": digest}

    def fetched(self, iteration: int, names: Sequence[str]) -> Iterator[Path]:
        for name in names:
            path = self.draft(iteration, name)
            storage.download(storage.join(self._root, _name(iteration)), [name], path.parent)
            yield path
            path.unlink()

    def remove(self, iteration: int) -> None:
        storage.delete([self.location(iteration, MARKER)])
        storage.delete([file.location for file in storage.listed(self._root, f"{_name(iteration)}/*")])

    def remove_unfinished(self) -> None:
        """Also entries beside a marker: of a save that was to replace a damaged checkpoint."""
        complete = {_name(iteration) for iteration in self.iterations()}
        storage.delete(
            [
                file.location
                for file in storage.listed(self._root, "*/*")
                if file.name.partition("/")[0] not in complete
                or (file.name.endswith(".json") and not file.name.endswith(f"/{MARKER}"))
            ]
        )

    def _put(self, path: Path, content: str, target: str) -> None:
        storage.write_atomically(path, content)
        storage.upload(path.parent, {path.name: storage.sha256(path)}, target)
        path.unlink()


def measure(path: Path) -> Entry:
    """The entry of a file on this machine."""
    return {"bytes": path.stat().st_size, "sha256": storage.sha256(path)}


def _name(iteration: int) -> str:
    return f"iteration-{iteration:07}"


def _newest_first(names: Iterator[str]) -> list[int]:
    matches = (_NAME.fullmatch(name) for name in names)
    return sorted((int(match[1]) for match in matches if match), reverse=True)
