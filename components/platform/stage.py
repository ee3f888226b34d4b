"""The life of a stage's result: found again when it is finished, resumed when it is not, published when it is done.

A result lies in `<workspace>/<kind>/<key>`, where the key is a hash of everything that determines it: settings,
inputs, and the code of the stage. So running again repeats nothing, and changing anything repeats just what
depends on it.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import inspect
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.platform import storage
from components.platform.context import PlatformSettings
from components.platform.data import SourceFile
from components.platform.errors import UserError
from components.platform.manifest import MANIFEST_NAME, Manifest, scratch
from components.platform.settings import Settings
from components.platform.storage.lease import lease

LEASE_NAME = ".lease"
DISK_FULL = ("No space left on device", "Disk quota exceeded", "File too large")
CODE_SUFFIXES = {".py", ".yaml", ".jinja"}


def produce(
    kind: str,
    settings: Settings,
    inputs: Mapping[str, Manifest],
    platform: PlatformSettings,
    work: Callable[[Path], dict[str, Any]],
    source_files: Sequence[SourceFile] = (),
    part: bool = False,
) -> Manifest:
    """Make the result of a stage, or find the one that is already there.

    Args:
        kind: name of the result, and of its folder in the workspace.
        settings: the stage's section of the recipe; its module tells which package is the stage's code.
        inputs: the results this one is made from, by role.
        platform: where the workspace is.
        work: fills the folder it is given and returns the manifest's metadata. The folder may hold what an
            interrupted call left: `work` continues from there.
        source_files: raw input files this result is made from.
        part: one of many parts of a step, of which it is no news that it was found.

    Raises:
        UserError: another process is writing the same result, on this machine or another; or the disk is full.
    """
    code = code_version(settings)
    identity = {
        "kind": kind,
        "settings": settings.model_dump(mode="json"),
        "inputs": {role: manifest.digest for role, manifest in inputs.items()},
        "sources": {file.name: file.digest for file in source_files},
        "code": code,
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    remote = storage.is_s3(platform.workspace)
    uri = storage.join(platform.workspace if remote else str(Path(platform.workspace).resolve()), kind, key)
    if storage.exists(storage.join(uri, MANIFEST_NAME)):
        if not part:
            print(f"{kind}  already made: {uri}", flush=True)
        return Manifest.load(uri)

    folder = scratch() / "work" / kind / key if remote else Path(uri)
    folder.mkdir(parents=True, exist_ok=True)
    held = lease(storage.join(uri, LEASE_NAME)) if remote else nullcontext()
    with _sole_writer(folder), held as check_lease, _full_disk_told(folder):
        if storage.exists(storage.join(uri, MANIFEST_NAME)):  # another has made it while we waited
            return Manifest.load(uri)
        _remove_temporaries(folder)
        metadata = work(folder)
        made_by = identity | {
            "key": key,
            "version": importlib.metadata.version("meditron-pipelines"),
            # For who looks for them: an artifact is known by its digest alone, wherever it lies.
            "places": {role: manifest.uri for role, manifest in inputs.items()},
            "source_bytes": {file.name: file.bytes for file in source_files},
        }
        manifest = replace(Manifest.of_folder(kind, folder, made_by=made_by, metadata=metadata), uri=uri)
        manifest.save(folder / MANIFEST_NAME)
        if remote:
            check_lease()
            # The manifest goes last: a reader never finds it before what it lists
            storage.upload(folder, {entry.path: entry.sha256 for entry in manifest.files}, uri)
            storage.upload(folder, {MANIFEST_NAME: storage.sha256(folder / MANIFEST_NAME)}, uri)
    return manifest


def code_version(settings: Settings) -> str:
    """SHA-256 (16 hex digits) of the code that a stage runs: its own package and the platform's.

    The stage's package is the one that defines its settings. KFP faces (`component.py`) don't count: they carry no
    work of their own.
    """
    stage = Path(inspect.getfile(type(settings))).parent
    platform = Path(__file__).parent
    digest = hashlib.sha256()
    for root in sorted({stage, platform}):
        for path in sorted(root.rglob("*")):
            if path.suffix in CODE_SUFFIXES and path.name != "component.py":
                digest.update(path.relative_to(root.parent).as_posix().encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _remove_temporaries(folder: Path) -> None:
    """What `storage.replacing` leaves when its process is killed; no other writes here now."""
    for path in folder.rglob(storage.TEMPORARIES):
        path.unlink()


@contextmanager
def _full_disk_told(folder: Path) -> Iterator[None]:
    """Libraries tell of a full disk each in their own way, and not where, but all in the system's words."""
    try:
        yield
    except Exception as error:
        if not any(words in str(error) for words in DISK_FULL):
            raise
        disk = shutil.disk_usage(folder)
        raise UserError(
            f"{folder}: the disk is full ({disk.free / 1e6:,.0f} MB of {disk.total / 1e6:,.0f} free): {error}\n"
            "Make room there and run again: what is finished is kept, and this result is gone on with"
        ) from error


@contextmanager
def _sole_writer(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel releases it when the process dies, however it dies."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder}: another process is making this very result; wait for it, or end it and run again"
            ) from None
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
