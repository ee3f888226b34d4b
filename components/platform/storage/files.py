"""Files on this machine: fingerprints, and writing so that a reader sees all or nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from components.platform.errors import InputError

HASH_THREADS = 4
TEMPORARIES = ".*.tmp"  # glob of the files that are being written


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_all(paths: Sequence[Path]) -> list[str]:
    """SHA-256 of many files; hashing releases the GIL, so threads run side by side."""
    with ThreadPoolExecutor(HASH_THREADS) as pool:
        return list(pool.map(sha256, paths))


def write_atomically(path: Path, content: str) -> None:
    """Write a text file so that a reader sees all of it or nothing, also after a crash."""
    with replacing(path) as file:
        file.write(content.encode())


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file to write to, which takes the place of `path` once all is written; after an error it is gone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_links_out_of(root: Path, paths: Sequence[Path]) -> None:
    """Make sure that files below `root` really lie there: data that others packed may hold links to any file.

    Raises:
        InputError: one is, or lies in, a symbolic link to elsewhere.
    """
    home, folders = root.resolve(), {}
    for path in paths:
        if path.parent not in folders:  # resolving asks for every part of a path, and folders hold many files
            folders[path.parent] = path.parent.resolve()
        real = path.resolve() if path.is_symlink() else folders[path.parent] / path.name
        if not real.is_relative_to(home):
            raise InputError(
                f"{path}: a link out of the data root, to {real}; put the data there itself, or, where you trust "
                "every link in it, set platform.follow_links"
            )
