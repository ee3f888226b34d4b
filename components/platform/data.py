"""Source files: what a recipe names, found, fingerprinted, and opened wherever it lies."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from components.platform import storage
from components.platform.context import PlatformSettings
from components.platform.errors import InputError
from components.platform.manifest import scratch
from components.platform.source import hub


@dataclass(frozen=True)
class SourceFile:
    """One input file. Plain values, so it can be written into a plan and sent to another process or machine.

    Attributes:
        name: its name below the data root, or the whole address of what lies elsewhere.
        uri: where it can be opened: a path, an `s3://` object, or a part of a Hugging Face dataset (see `hub`).
        bytes: its size; of a part of a dataset, about the size of what is fetched.
        digest: changes whenever the content does.
            `sha256:HEX` of a file on this machine.
            `etag:ETAG:SIZE` of an S3 object: S3 makes the ETag of the content, and listing gives it without
            fetching anything, where a SHA-256 would cost reading terabytes. The same bytes sent in parts of another
            size have another ETag and count as new; changed bytes never count as the old ones.
            `hub:COMMIT:CONFIG:SPLIT` of a Hugging Face dataset, whose commits never change.
    """

    name: str
    uri: str
    bytes: int
    digest: str

    def open(self) -> BinaryIO:
        """The content as a stream, without a copy on this machine. Rows of a dataset come as JSON lines.

        Opening or reading raises:
            InputError: it is gone, was replaced since it was found, or can't be had.
        """
        if storage.is_s3(self.uri):
            etag = self.digest.removeprefix("etag:").rpartition(":")[0]
            return storage.open_object(self.uri, self.bytes, etag)
        if hub.is_address(self.uri):
            return hub.open_rows(self.uri)
        try:
            return Path(self.uri).open("rb")
        except OSError as error:
            raise InputError(f"{self.uri}: {error.strerror}; it was there when the source files were listed") from None

    def local(self) -> Path:
        """The whole file on this machine; what lies elsewhere is copied to the scratch folder, once.

        Raises:
            InputError: as `open`.
        """
        if not storage.is_s3(self.uri) and not hub.is_address(self.uri):
            return Path(self.uri)
        path = scratch() / "sources" / self.uri.replace("://", "/")
        copied = path.with_name(f".{path.name}.digest")  # says of what the copy is one
        if path.exists() and copied.exists() and copied.read_text(encoding="utf-8") == self.digest:
            return path
        copied.unlink(missing_ok=True)
        with self.open() as stream, storage.replacing(path) as file:
            shutil.copyfileobj(stream, file)
        storage.write_atomically(copied, self.digest)
        return path


def resolve(platform: PlatformSettings, pattern: str) -> list[SourceFile]:
    """Files that match a pattern, sorted by name.

    Args:
        pattern: a name or glob below the data root; a glob that is an `s3://bucket/prefix/...` address itself; or
            `hf://datasets/OWNER/NAME[@REVISION][/CONFIG]/SPLIT` (see `hub`). In a glob, `*` stands for any letters
            within the name of a file or folder, and `**` for any folders.

    Raises:
        InputError: nothing matches, or a link leads out of the data root.
    """
    if hub.is_address(pattern):
        return [SourceFile(part.name, part.uri, part.bytes, part.digest) for part in hub.find(pattern)]
    found = storage.find(platform.data, pattern, platform.follow_links)
    if found[0].etag is not None:
        return [SourceFile(file.name, file.location, file.bytes, f"etag:{file.etag}:{file.bytes}") for file in found]
    digests = storage.sha256_of_all([Path(file.location) for file in found])
    return [
        SourceFile(file.name, file.location, file.bytes, f"sha256:{digest}")
        for file, digest in zip(found, digests, strict=True)
    ]


def check(platform: PlatformSettings, pattern: str) -> None:
    """Make sure that `resolve` will find something, without reading any of it.

    Raises:
        InputError: nothing matches.
    """
    if hub.is_address(pattern):
        hub.find(pattern)
    else:
        storage.find(platform.data, pattern, platform.follow_links)


def local_folder(files: Sequence[SourceFile]) -> Path:
    """The folder on this machine that holds all of `files`, which lie in one folder; fetches them from elsewhere.

    Raises:
        InputError: as `SourceFile.open`; or they lie in several folders.
    """
    folders = {file.local().parent for file in files}
    if len(folders) != 1:
        raise InputError(f"expected files of one folder, found {', '.join(sorted(file.uri for file in files))}")
    return folders.pop()
