"""Files and S3 behind one small set of verbs; the only module that imports boto3.

A location is a folder path or an `s3://bucket/prefix` URI. Transfers use boto3's managed multipart
transfers (parallel parts, retried); endpoint and credentials come from the usual AWS environment variables.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from components.platform.errors import InputError

HASH_THREADS = 4
TRANSFER_FILES_AT_ONCE = 8


def is_s3(location: str) -> bool:
    return location.startswith("s3://")


def join(location: str, *parts: str) -> str:
    return "/".join([location.rstrip("/"), *parts]) if is_s3(location) else str(Path(location, *parts))


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_all(paths: list[Path]) -> list[str]:
    """SHA-256 of many files; hashing releases the GIL, so threads run side by side."""
    with ThreadPoolExecutor(HASH_THREADS) as pool:
        return list(pool.map(sha256, paths))


def write_atomically(path: Path, content: str) -> None:
    """Write a text file so that a reader sees all of it or nothing, also after a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def find(root: str, pattern: str) -> list[str]:
    """Names below `root` that match a glob `pattern`, sorted.

    Raises:
        InputError: nothing matches.
    """
    if is_s3(root):
        fixed = pattern.split("*", 1)[0]
        names = [name for name in _list(join(root, fixed), root) if fnmatch.fnmatchcase(name, pattern)]
    else:
        base = Path(root)
        names = [path.relative_to(base).as_posix() for path in base.glob(pattern) if path.is_file()]
    if not names:
        raise InputError(f"{join(root, pattern)}: no such file; expected at least one source file there")
    return sorted(names)


def exists(location: str) -> bool:
    if not is_s3(location):
        return Path(location).exists()
    bucket, key = _bucket_and_key(location)
    listing = _client().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
    return any(item["Key"] == key for item in listing.get("Contents", []))


def read_text(location: str) -> str:
    if not is_s3(location):
        return Path(location).read_text(encoding="utf-8")
    bucket, key = _bucket_and_key(location)
    return _client().get_object(Bucket=bucket, Key=key)["Body"].read().decode()


def download(root: str, names: list[str], folder: Path) -> None:
    """Copy the named S3 objects below `root` into `folder`, several at once; each appears whole or not at all."""

    def fetch(name: str) -> None:
        bucket, key = _bucket_and_key(join(root, name))
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.part")
        _client().download_file(bucket, key, str(temporary))
        os.replace(temporary, target)

    with ThreadPoolExecutor(TRANSFER_FILES_AT_ONCE) as pool:
        list(pool.map(fetch, names))


def upload(folder: Path, names: list[str], root: str) -> None:
    """Copy the named files below `folder` to S3 below `root`, several at once."""

    def send(name: str) -> None:
        bucket, key = _bucket_and_key(join(root, name))
        _client().upload_file(str(folder / name), bucket, key)

    with ThreadPoolExecutor(TRANSFER_FILES_AT_ONCE) as pool:
        list(pool.map(send, names))


def _list(prefix: str, root: str) -> list[str]:
    bucket, key = _bucket_and_key(prefix)
    _, root_key = _bucket_and_key(root)
    pages = _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
    return [item["Key"].removeprefix(root_key).lstrip("/") for page in pages for item in page.get("Contents", [])]


def _bucket_and_key(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


@cache
def _client() -> Any:
    # Imported here: a run on plain files needs neither boto3 nor its start-up time.
    import boto3
    from botocore.config import Config

    return boto3.client("s3", config=Config(retries={"mode": "standard", "max_attempts": 8}))
