"""Files copied to and from S3: many parts at once, checked by SHA-256."""

from __future__ import annotations

import errno
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from components.platform.errors import InputError
from components.platform.progress import LINE_INTERVAL_SECONDS, Progress
from components.platform.storage import s3
from components.platform.storage.files import replacing
from components.platform.storage.location import bucket_and_key, join

DOWNLOAD_FILES = 4  # each is fetched over several connections (see `ranged`)
# A part is what is sent again when something breaks, and S3 takes 10,000 of them: 16 MiB allows objects of 160 GB.
# One connection gives 50 to 90 MB/s, so 16 of them, shared by all files of a transfer, fill a network of 10 Gbit/s.
UPLOAD_PART_BYTES = 16 << 20
UPLOAD_REQUESTS = 16
BLOCK_BYTES = 1 << 20


def download(root: str, names: Sequence[str], folder: Path) -> None:
    """Copy the named S3 objects below `root` into `folder`; each appears whole or not at all.

    What `upload` brought there is checked against the SHA-256 that it left with the object.

    Raises:
        InputError: one is missing, or can't be had, or was damaged.
    """
    with _threads(DOWNLOAD_FILES) as pool, _shown(f"download  {root}") as moved:
        copies = [pool.submit(_download, join(root, name), folder / name, moved) for name in names]
        for copy in as_completed(copies):
            copy.result()


def _download(location: str, path: Path, moved: Callable[[int], None]) -> None:
    head = s3.head(location)
    if head is None:
        raise InputError(f"{location}: no such object")
    sha256 = hashlib.sha256()
    with s3.opened(location, head) as stream, replacing(path) as file:
        while block := stream.read(BLOCK_BYTES):
            file.write(block)
            sha256.update(block)
            moved(len(block))
        if head["Metadata"].get("sha256", sha256.hexdigest()) != sha256.hexdigest():
            raise InputError(f"{location}: its SHA-256 is not that of the file that was uploaded; it was damaged")


def fingerprint(location: str) -> tuple[int, str]:
    """Size in bytes and hex SHA-256 of an S3 object, from its content.

    Raises:
        FileNotFoundError: there is none.
        InputError: it can't be had.
    """
    head = s3.head(location)
    if head is None:
        raise FileNotFoundError(errno.ENOENT, "no such object", location)
    sha256 = hashlib.sha256()
    with s3.opened(location, head) as stream:
        while block := stream.read(BLOCK_BYTES):
            sha256.update(block)
    return head["ContentLength"], sha256.hexdigest()


def upload(folder: Path, digests: Mapping[str, str], root: str) -> None:
    """Copy files below `folder` to S3 below `root`, but for those that an earlier call has brought there.

    S3 checks each part against its SHA-256. The SHA-256 of the whole file, which a multipart object's own checksum
    is not, is kept with the object: by it the next call knows what is there.

    Args:
        digests: hex SHA-256 by name below `folder`.

    Raises:
        InputError: S3 does not take one.
    """
    from boto3.s3.transfer import ProgressCallbackInvoker, TransferConfig, create_transfer_manager

    config = TransferConfig(
        multipart_threshold=UPLOAD_PART_BYTES,
        multipart_chunksize=UPLOAD_PART_BYTES,
        max_concurrency=UPLOAD_REQUESTS,
    )

    def lacks(name: str) -> bool:
        head = s3.head(join(root, name))
        there = head and (head["ContentLength"], head["Metadata"].get("sha256"))
        return there != ((folder / name).stat().st_size, digests[name])

    with _threads(UPLOAD_REQUESTS) as pool:
        lacking = [name for name, lacks_it in zip(digests, pool.map(lacks, digests), strict=True) if lacks_it]
    with _shown(f"upload  {root}") as moved, create_transfer_manager(s3.client(), config) as manager:
        futures = {}
        for name in lacking:
            bucket, key = bucket_and_key(join(root, name))
            extra = {"ChecksumAlgorithm": "SHA256", "Metadata": {"sha256": digests[name]}}
            watchers = [ProgressCallbackInvoker(moved)]
            futures[name] = manager.upload(str(folder / name), bucket, key, extra, watchers)
        for name, future in futures.items():
            with s3.explained(join(root, name)):
                future.result()


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that begin nothing new after an error."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _shown(task: str) -> Iterator[Callable[[int], None]]:
    """Progress lines of a transfer that takes long.

    What is given is called, in any thread, with the number of bytes that were moved. After an error it raises
    CancelledError, so that whatever else is under way ends too.
    """
    progress, lock, begun = Progress(task, None, "MB"), threading.Lock(), time.monotonic()
    failed = threading.Event()

    def moved(count: int) -> None:
        if failed.is_set():
            raise CancelledError
        with lock:
            progress.update(count / 1e6)

    try:
        yield moved
    except BaseException:
        failed.set()
        raise
    if time.monotonic() - begun > LINE_INTERVAL_SECONDS:
        progress.close()
