"""Bytes of source files, plain or gzipped, in blocks; and the lines in them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from components.corpus.sources.document import Records, RejectedError

BLOCK_BYTES = 1 << 20
GZIP_WINDOW = 31  # zlib's code for "expect a gzip header"


def blocks(path: Path) -> Iterator[bytes]:
    """The content of a file, decompressed when its name ends in .gz (files of several gzip members too).

    Raises:
        RejectedError: after the last good byte, when a .gz is cut short or damaged.
    """
    with path.open("rb") as file:
        pieces = iter(lambda: file.read(BLOCK_BYTES), b"")
        yield from _decompressed(pieces) if path.suffix == ".gz" else pieces


def _decompressed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(GZIP_WINDOW)
    fed = False  # whether the current member has got any bytes: a file may end only between members
    for piece in pieces:
        while piece:
            if member.eof:
                piece = piece.lstrip(b"\0")  # some tools pad the end of a file
                member, fed = zlib.decompressobj(GZIP_WINDOW), False
                continue
            try:
                fed = True
                yield member.decompress(piece)
            except zlib.error as error:
                raise RejectedError("bad_gzip", f"damaged: {error}; fetch the file again") from None
            piece = member.unused_data
    if fed and not member.eof:
        raise RejectedError("truncated_gzip", "the file ends inside compressed data; fetch it again")


def lines(path: Path) -> Records:
    """Non-blank lines with their 1-based line numbers; a damaged end of a .gz is one more, rejected record."""
    number, rest, blocks_ = 0, [], blocks(path)
    while True:
        try:
            block = next(blocks_)
        except StopIteration:
            break
        except RejectedError as damage:
            # What remains is the beginning of a line that we'll never see whole.
            yield number + 1, damage
            return
        first, *others = block.split(b"\n")
        rest.append(first)
        for line in others:
            number += 1
            whole, rest = b"".join(rest), [line]
            if not whole.isspace() and whole:
                yield number, whole
    last = b"".join(rest)
    if last.strip():
        yield number + 1, last


def json_object(payload: bytes) -> dict[str, Any]:
    """A line of JSONL.

    Raises:
        RejectedError: it is not JSON, or not an object.
    """
    try:
        row = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise RejectedError("bad_json", str(error)) from None
    if not isinstance(row, dict):
        raise RejectedError("bad_json", f"expected an object, found {type(row).__name__}")
    return row
