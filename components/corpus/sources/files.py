"""Bytes of source files, decompressed, in blocks; and the records in them: lines, or the files in an archive.

Whatever a file holds, memory stays bounded: a few megabytes expand to gigabytes if somebody wants them to.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import orjson

from components.corpus.limits import DEFAULT, Limits
from components.corpus.sources.document import Records, RejectedError
from components.platform.data import SourceFile
from components.platform.source.stream import binary_stream

BLOCK_BYTES = 1 << 20
COMPRESSED_BYTES = 1 << 18  # read at once: as text expands some four times, they make about a block
GZIP_WINDOW = 31  # zlib's code for "expect a gzip header"
XML_SUFFIXES = (".xml", ".nxml")
# Headers of an archive that carry data of their own, which tarfile reads at once
EXTENDED_HEADERS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, *tarfile.GNU_TYPES)
MAX_HEADER_BYTES = 1 << 20


def blocks(file: SourceFile, limits: Limits = DEFAULT) -> Iterator[bytes]:
    """The content of a file, decompressed when its name ends in .gz, .tgz (several gzip members too) or .zst.

    Raises:
        RejectedError: after the last good byte, when a compressed file is cut short or damaged, or expands beyond
            the limits.
    """
    with file.open() as stream:
        if file.name.endswith((".gz", ".tgz")):
            yield from _bounded(_gunzipped(iter(lambda: stream.read(COMPRESSED_BYTES), b"")), file.bytes, limits)
        elif file.name.endswith(".zst"):
            yield from _bounded(_unzstd(stream), file.bytes, limits)
        else:
            yield from iter(lambda: stream.read(BLOCK_BYTES), b"")


def _bounded(expanded: Iterator[bytes], compressed_bytes: int, limits: Limits) -> Iterator[bytes]:
    left = allowed = limits.expanded_bytes(compressed_bytes)
    for block in expanded:
        left -= len(block)
        if left < 0:
            raise RejectedError(
                "decompression_bomb",
                f"{compressed_bytes:,} bytes expand to more than {allowed:,}; if the file is to be trusted, raise "
                "corpus.limits.expansion",
            )
        yield block


def whole(file: SourceFile, limits: Limits = DEFAULT) -> bytes:
    """The content of a file that is one record.

    Raises:
        RejectedError: it is damaged, or too large for a record.
    """
    content = bytearray()
    for block in blocks(file, limits):
        content += block
        if len(content) > limits.record_bytes:
            raise RejectedError("file_too_large", f"a file of one record has at most {limits.record_bytes:,} bytes")
    return bytes(content)


def lines(file: SourceFile, limits: Limits = DEFAULT) -> Records:
    """Non-blank lines with their 1-based line numbers; a damaged end of the file is one more, rejected record."""
    number = 0
    begun, length = [b""], 0  # pieces of the line that the last block ended in, and how long it is so far
    try:
        for block in blocks(file, limits):
            first, *others = block.split(b"\n")
            length += len(first)
            if length > limits.record_bytes:
                begun.clear()
            else:
                begun.append(first)
            if not others:
                continue
            number += 1
            if (line := _joined(begun, limits)) is not None:
                yield number, line
            last = others.pop()
            for line in others:
                number += 1
                if line and not line.isspace():
                    yield number, line
            begun, length = [last], len(last)
    except RejectedError as damage:
        # What was begun is a line that we'll never see whole
        yield number + 1, damage
    else:
        if (line := _joined(begun, limits)) is not None:
            yield number + 1, line


def _joined(pieces: list[bytes], limits: Limits) -> bytes | RejectedError | None:
    """A line from its pieces; None when it is blank. Without pieces it is one that was too long to keep."""
    if not pieces:
        return RejectedError("line_too_long", f"a record has at most {limits.record_bytes:,} bytes")
    line = b"".join(pieces)
    return line if line and not line.isspace() else None


def members(file: SourceFile, limits: Limits = DEFAULT) -> Records:
    """The XML files in a tar archive, plain or compressed, numbered from 1 in their order.

    Nothing is extracted, and nothing is read but regular files whose names end in .xml or .nxml. Damage ends an
    archive with one more, rejected record.
    """
    number, most = 0, limits.expanded_bytes(file.bytes)
    try:
        with (
            binary_stream(blocks(file, limits)) as stream,
            tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as archive,
        ):
            while (member := archive.next()) is not None:
                archive.members.clear()  # it would remember all of them
                if archive.offset > most:  # it would seek to there, and for 2^60 bytes never come back
                    raise RejectedError(
                        "bad_tar", f"{member.name} claims {member.size:,} bytes, more than there can be"
                    )
                if member.isreg() and member.name.lower().endswith(XML_SUFFIXES):
                    content = _content(archive, member, limits)
                    number += 1
                    yield number, content
            while block := archive.fileobj.read(BLOCK_BYTES):
                if block.strip(b"\0"):
                    raise RejectedError("bad_tar", "something follows the end of the archive")
    except RejectedError as damage:
        yield number + 1, damage
    except tarfile.TarError as error:
        yield number + 1, RejectedError("truncated_tar", f"{error}; fetch the archive again")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, limits: Limits) -> bytes | RejectedError:
    if member.issparse():  # no article is; holes expand without end, and nothing else would count them
        return RejectedError("sparse_file", f"{member.name} has holes; pack the files as they are")
    if member.size > limits.record_bytes:
        found = f"{member.name} has {member.size:,} bytes, at most {limits.record_bytes:,}"
        return RejectedError("file_too_large", found)
    return archive.extractfile(member).read()


class _Header(tarfile.TarInfo):
    """A header that stands up for itself: `tarfile` takes a damaged one for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # the end mark
            raise
        except (tarfile.EmptyHeaderError, tarfile.TruncatedHeaderError):
            raise RejectedError("truncated_tar", "the archive ends without its end mark; fetch it again") from None
        except tarfile.HeaderError as error:
            raise RejectedError("bad_tar", f"{error}; fetch the archive again") from None
        if header.type in EXTENDED_HEADERS and header.size > MAX_HEADER_BYTES:
            raise RejectedError("bad_tar", f"a header of {header.size:,} bytes, at most {MAX_HEADER_BYTES:,}")
        return header


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


def _gunzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Blocks of at most BLOCK_BYTES."""
    member = zlib.decompressobj(GZIP_WINDOW)
    fed = False  # whether the current member has got any bytes: a file may end only between members
    for piece in pieces:
        while piece:
            if member.eof:
                piece = piece.lstrip(b"\0")  # some tools pad the end of a file
                member, fed = zlib.decompressobj(GZIP_WINDOW), False
                continue
            fed = True
            if block := _inflated(member, piece):
                yield block
            piece = member.unconsumed_tail or member.unused_data
    while block := _inflated(member, b""):  # what no longer fitted into the last block
        yield block
    if fed and not member.eof:
        raise RejectedError("truncated_gzip", "the file ends inside compressed data; fetch it again")


def _inflated(member: Any, piece: bytes) -> bytes:
    try:
        return member.decompress(piece, BLOCK_BYTES)
    except zlib.error as error:
        raise RejectedError("bad_gzip", f"damaged: {error}; fetch the file again") from None


def _unzstd(stream: BinaryIO) -> Iterator[bytes]:
    import pyarrow

    with pyarrow.CompressedInputStream(pyarrow.PythonFile(stream, "r"), "zstd") as content:
        while True:
            try:
                block = content.read(BLOCK_BYTES)
            except OSError as error:
                raise RejectedError("bad_zstd", f"damaged or cut short: {error}; fetch the file again") from None
            if not block:
                return
            yield block
