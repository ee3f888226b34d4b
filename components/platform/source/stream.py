"""A binary stream made of pieces that come one after the other."""

from __future__ import annotations

import io
from collections.abc import Generator
from typing import BinaryIO

BUFFER_BYTES = 1 << 20

Pieces = Generator[bytes | bytearray, None, None]


def binary_stream(pieces: Pieces) -> BinaryIO:
    """What `pieces` yields, end to end, to be read like a file; closing the stream closes `pieces`."""
    return io.BufferedReader(_Raw(pieces), BUFFER_BYTES)


class _Raw(io.RawIOBase):
    def __init__(self, pieces: Pieces) -> None:
        self._pieces, self._left = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self._pieces.close()
        super().close()
