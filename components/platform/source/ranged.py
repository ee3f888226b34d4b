"""A remote object as a stream: ranges of it are fetched side by side, a few ahead of the reader."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from components.platform.errors import InputError
from components.platform.source.stream import Pieces, binary_stream

# One connection to S3 gives 50 to 90 MB/s whatever the machine; five side by side keep ahead of any reader here.
# Parts of 8 MiB make the wait for an answer (some 50 ms) a small share of a part, and five of them 40 MiB of memory.
PART_BYTES = 8 << 20
PARTS_AHEAD = 4
ATTEMPTS = 8  # with waits that double up to 20 seconds: about a minute of trouble is sat out
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 20.0

Fetch = Callable[[int, int], Iterator[bytes]]
"""Gives the bytes of an object from `start` up to `end`, in pieces; raises BrokenOffError where they end too early."""


class BrokenOffError(Exception):
    """An answer that began well and ended before its time, or is not what was sent; the message is a word or two."""


def stream(location: str, fetch: Fetch, size: int) -> BinaryIO:
    """The bytes of an object of `size` bytes; reading raises InputError as `read` does."""
    return binary_stream(_parts(location, fetch, size))


def read(location: str, fetch: Fetch, start: int, end: int, abandoned: threading.Event) -> bytearray:
    """Bytes from `start` up to `end` of an object; after a break, only the rest is asked for.

    Nothing more is asked for once `abandoned` is set: whoever wanted the bytes is gone.

    Raises:
        InputError: too many answers broke off, or the bytes were abandoned after one.
    """
    content = bytearray()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            for piece in fetch(start + len(content), end):
                content += piece
            if len(content) == end - start:
                return content
            raise BrokenOffError(f"{len(content)} bytes came")
        except BrokenOffError as error:
            if len(content) >= end - start:  # all of it came, but with a checksum that is not its own
                content.clear()
            # Waits differ by chance, so that readers which failed together don't all come back together
            wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** (attempt - 1)) * random.uniform(0.5, 1)
            if attempt == ATTEMPTS or abandoned.wait(wait):
                raise InputError(
                    f"{location}: its bytes {start}–{end - 1} broke off {attempt} times ({error}); check the network, "
                    "and run again: finished work is kept"
                ) from None
    raise AssertionError("the last attempt returns or raises")


def _parts(location: str, fetch: Fetch, size: int) -> Pieces:
    pool = ThreadPoolExecutor(PARTS_AHEAD + 1, "ranges")
    abandoned = threading.Event()
    parts: deque[Future[bytearray]] = deque()
    try:
        for start in range(0, size, PART_BYTES):
            end = min(start + PART_BYTES, size)
            parts.append(pool.submit(read, location, fetch, start, end, abandoned))
            if len(parts) > PARTS_AHEAD:
                yield parts.popleft().result()
        while parts:
            yield parts.popleft().result()
    finally:
        # Whoever stops reading early need not wait for what was fetched ahead, nor the process for its repeats
        abandoned.set()
        pool.shutdown(wait=False, cancel_futures=True)
