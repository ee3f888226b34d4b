"""Files on this machine: fingerprints, and writing so that a reader sees all or nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

HASH_THREADS = 4


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
