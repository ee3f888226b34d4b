"""Files and S3 behind one small set of verbs; the only package that imports boto3."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from components.platform.errors import InputError
from components.platform.source import globs
from components.platform.storage import s3
from components.platform.storage.files import (
    TEMPORARIES,
    refuse_links_out_of,
    replacing,
    sha256,
    sha256_of_all,
    write_atomically,
)
from components.platform.storage.location import Found, bucket_and_key, is_s3, join
from components.platform.storage.s3 import delete, listed, open_object
from components.platform.storage.transfer import download, fingerprint, upload

__all__ = [
    "TEMPORARIES",
    "Found",
    "delete",
    "download",
    "exists",
    "find",
    "fingerprint",
    "is_s3",
    "join",
    "listed",
    "open_object",
    "read_text",
    "replacing",
    "sha256",
    "sha256_of_all",
    "upload",
    "write_atomically",
]


def find(root: str, pattern: str, follow_links: bool = False) -> list[Found]:
    """Files that match a glob `pattern` below `root`, or a glob that is an `s3://` address itself; sorted by name.

    Args:
        follow_links: take symbolic links that lead out of the root, too.

    Raises:
        InputError: nothing matches, or the pattern or a link leads out of the root.
    """
    if is_s3(pattern):
        bucket, key_pattern = bucket_and_key(pattern)
        listed = s3.listed(f"s3://{bucket}", globs.checked(key_pattern, pattern))
        found = [replace(file, name=file.location) for file in listed]
    elif is_s3(root):
        found = list(s3.listed(root, globs.checked(pattern)))
    else:
        if not Path(root).is_dir():
            raise InputError(f"{root}: no such folder; expected the root of the source files (--data, MEDITRON_DATA)")
        paths = [path for path in Path(root).glob(globs.checked(pattern)) if path.is_file()]
        if not follow_links:
            refuse_links_out_of(Path(root), paths)
        found = [Found(path.relative_to(root).as_posix(), str(path), path.stat().st_size) for path in paths]
    if not found:
        place = pattern if is_s3(pattern) else join(root, pattern)
        raise InputError(f"{place}: no such file; expected at least one source file there")
    return sorted(found, key=lambda file: file.name)


def exists(location: str) -> bool:
    if not is_s3(location):
        return Path(location).exists()
    bucket, key = bucket_and_key(location)
    with s3.explained(location):
        listing = s3.client().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
    return any(item["Key"] == key for item in listing.get("Contents", []))


def read_text(location: str) -> str:
    """A small text file.

    Raises:
        FileNotFoundError: there is none.
    """
    if not is_s3(location):
        return Path(location).read_text(encoding="utf-8")
    head = s3.head(location)
    if head is None:
        raise FileNotFoundError(location)
    with s3.opened(location, head) as stream:
        return stream.read().decode()
