"""One writer at a time on S3, where no lock is released by a death: a lease that its holder keeps renewing.

No clocks are compared: who finds a lease watches for as long as it may go without a renewal. If it is renewed, its
holder lives; if not, it is taken over, by a conditional request that only one of several can win.
"""

from __future__ import annotations

import io
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from components.platform.errors import InputError, UserError
from components.platform.storage import s3
from components.platform.storage.location import bucket_and_key

RENEWAL_SECONDS = 15.0
LIFE_SECONDS = 90.0  # without a renewal; a started-again writer waits as long for that of its killed predecessor
POLL_SECONDS = 3.0
# Gone, or changed, or being changed by another at this moment
REFUSALS = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"})


@contextmanager
def lease(location: str) -> Iterator[Callable[[], None]]:
    """Hold the lease that the object `location` stands for.

    What is given makes sure that it is still held: another may have taken it over while S3 could not be had.

    Raises:
        UserError: another holds it, and lives.
        InputError: S3 can't be had.
    """
    holder = _Holder(location)
    holder.take()
    ended = threading.Event()
    renewing = threading.Thread(target=holder.renew_until, args=[ended], daemon=True)
    renewing.start()
    try:
        yield holder.check
    finally:
        ended.set()
        renewing.join()
        holder.release()


class _Holder:
    def __init__(self, location: str) -> None:
        self._location = location
        self._name = f"{socket.gethostname()} {os.getpid()}"
        self._etag: str | None = None
        self._changing = threading.Lock()

    def take(self) -> None:
        if self._put(IfNoneMatch="*"):
            return
        found, deadline = self._found(), time.monotonic() + LIFE_SECONDS
        print(f"{self._location}: waiting up to {LIFE_SECONDS:.0f} s to see whether its holder lives", flush=True)
        while found is not None and time.monotonic() < deadline:
            time.sleep(min(POLL_SECONDS, LIFE_SECONDS / 4))
            before, found = found, self._found()
            if found not in (None, before):
                self._refuse()
        if not self._put(**({"IfNoneMatch": "*"} if found is None else {"IfMatch": found})):
            self._refuse()

    def check(self) -> None:
        """Raises UserError when another holds it."""
        with self._changing:
            is_held = self._found() == self._etag
        if not is_held:
            self._refuse()

    def renew_until(self, ended: threading.Event) -> None:
        while not ended.wait(RENEWAL_SECONDS):
            try:
                if not self._put(IfMatch=self._etag):
                    return  # lost: `check` tells
            except InputError as error:
                print(f"{error}; the lease is renewed later", flush=True)

    def release(self) -> None:
        if self._found() == self._etag:
            s3.delete([self._location])

    def _refuse(self) -> None:
        raise UserError(
            f"{self._location.rpartition('/')[0]}: another process is making this very result, on another machine; "
            "wait for it, or end it and run again"
        )

    def _found(self) -> str | None:
        head = s3.head(self._location)
        return None if head is None else head["ETag"]

    def _put(self, **condition: str) -> bool:
        """Whether S3 took it; each has another content, so that a renewal can be told."""
        from botocore.exceptions import ClientError

        bucket, key = bucket_and_key(self._location)
        content = f"{self._name} {uuid.uuid4()}\n"
        with self._changing, s3.explained(self._location):
            try:
                s3.client().put_object(Bucket=bucket, Key=key, Body=content.encode(), **condition)
            except ClientError as error:
                if error.response["Error"]["Code"] not in REFUSALS:
                    raise
            # Looked at rather than believed: a repeated request is refused when the first one's answer was lost
            head = s3.head(self._location)
            with s3.opened(self._location, head) if head else nullcontext(io.BytesIO()) as found:
                is_ours = found.read() == content.encode()
            if is_ours:
                self._etag = head["ETag"]
        return is_ours
