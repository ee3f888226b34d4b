"""Where something lies: a folder or file by its path, or an `s3://bucket/key` URI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Found:
    """A file that matches a pattern: its name below the root, where it lies, its size; on S3 its ETag too."""

    name: str
    location: str
    bytes: int
    etag: str | None = None


def is_s3(location: str) -> bool:
    return location.startswith("s3://")


def join(location: str, *parts: str) -> str:
    return "/".join([location.rstrip("/"), *parts]) if is_s3(location) else str(Path(location, *parts))


def bucket_and_key(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
