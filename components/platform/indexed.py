"""Token files in Megatron's indexed format: `<prefix>.bin` and `<prefix>.idx`, readable by Megatron-LM.

Layout (little endian), as read by `megatron/core/datasets/indexed_dataset.py` of NVIDIA/Megatron-LM:

    .bin  the token ids of all documents, one after the other, no separators of its own
    .idx   9 bytes  magic b"MMIDIDX\\0\\0"
           8 bytes  uint64 version, 1
           1 byte   uint8 code of the token type (`DTYPE_CODES`)
           8 bytes  uint64 n, number of sequences
           8 bytes  uint64 m, number of entries in the document index, n + 1 here
           n × int32   length of each sequence in tokens
           n × int64   where each sequence begins in .bin, in bytes
           m × int64   document index: the first sequence of each document, and n at the end

A document is one sequence here, so the document index counts 0, 1, ... n. Megatron maps `.bin` into memory and can't
map an empty file, so callers write no pair of files for an empty set.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from components.platform.errors import InputError

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
DTYPE_CODES = {np.dtype(name): code for name, code in [("u1", 1), ("i1", 2), ("<i2", 3), ("<i4", 4), ("<i8", 5)]}
DTYPE_CODES[np.dtype("<u2")] = 8  # 6 and 7 are the floating types, which no token has
HEADER = struct.Struct("<9sQBQQ")


def smallest_dtype(vocab_size: int) -> np.dtype:
    """The type Megatron itself picks for token ids: uint16 below 65,500 ids, else int32."""
    return np.dtype("<u2") if vocab_size < 65_500 else np.dtype("<i4")


class IndexedWriter:
    """Writes documents of token ids, streaming; both files appear at `close`, or not at all.

    Use it as a context manager: leaving it with an error removes what was written.
    """

    def __init__(self, prefix: Path, dtype: npt.DTypeLike) -> None:
        """
        Raises:
            ValueError: Megatron's format has no code for `dtype` (it knows no uint32, for one).
        """
        self.dtype = np.dtype(dtype)
        if self.dtype not in DTYPE_CODES:
            known = ", ".join(str(known) for known in DTYPE_CODES)
            raise ValueError(f"{self.dtype}: not a token type of Megatron's indexed format; choose one of {known}")
        self.prefix = prefix
        self._bounds = np.iinfo(self.dtype)
        self._lengths: list[npt.NDArray[np.int32]] = []
        prefix.parent.mkdir(parents=True, exist_ok=True)
        self._bin = _temporary(_bin(prefix)).open("wb")

    def add(self, tokens: npt.ArrayLike) -> None:
        """Append one document of token ids, shape (n,)."""
        flat = np.asarray(tokens)
        self.add_many(flat, [flat.size])

    def add_many(self, flat: npt.ArrayLike, lengths: Sequence[int] | npt.NDArray[np.integer]) -> None:
        """Append several documents: their token ids end to end, shape (sum of lengths,), and each one's length.

        Raises:
            ValueError: the lengths do not add up to the tokens, or an id does not fit the token type.
        """
        ids, sizes = np.asarray(flat), np.asarray(lengths, dtype=np.int64)
        if ids.ndim != 1 or sizes.sum() != ids.size or (sizes < 0).any():
            raise ValueError(f"lengths add up to {sizes.sum()} tokens, but the tokens have shape {ids.shape}")
        if ids.size and not (self._bounds.min <= ids.min() and ids.max() <= self._bounds.max):
            raise ValueError(f"token ids {ids.min()} to {ids.max()} do not fit {self.dtype}")
        if sizes.size and sizes.max() > np.iinfo(np.int32).max:
            raise ValueError(f"a document of {sizes.max()} tokens: the format counts at most 2^31 - 1")
        self._bin.write(ids.astype(self.dtype, copy=False).tobytes())
        self._lengths.append(sizes.astype("<i4"))

    def close(self) -> None:
        """Write the index and put both files in place, index last: with an index there is always a whole `.bin`."""
        _finish(self._bin)
        lengths = np.concatenate([np.empty(0, "<i4"), *self._lengths])
        ends = np.cumsum(lengths, dtype="<i8") * self.dtype.itemsize
        n = lengths.size
        with _temporary(_idx(self.prefix)).open("wb") as idx:
            idx.write(HEADER.pack(MAGIC, VERSION, DTYPE_CODES[self.dtype], n, n + 1))
            idx.write(lengths.tobytes())
            idx.write((ends - lengths.astype("<i8") * self.dtype.itemsize).tobytes())
            idx.write(np.arange(n + 1, dtype="<i8").tobytes())
            _finish(idx)
        # An index of an earlier write must not stand beside the new tokens, not even for a moment.
        _idx(self.prefix).unlink(missing_ok=True)
        os.replace(_temporary(_bin(self.prefix)), _bin(self.prefix))
        os.replace(_temporary(_idx(self.prefix)), _idx(self.prefix))

    def abort(self) -> None:
        """Remove what was written so far."""
        self._bin.close()
        for path in (_bin(self.prefix), _idx(self.prefix)):
            with suppress(FileNotFoundError):
                _temporary(path).unlink()

    def __enter__(self) -> IndexedWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


class IndexedDataset:
    """Documents of token ids in memory-mapped files; `dataset[i]` is a read-only array, shape (lengths[i],).

    Attributes:
        lengths: tokens of each document, shape (n,), int32.
        dtype: type of the token ids.
    """

    def __init__(self, prefix: Path) -> None:
        """
        Raises:
            InputError: a file is missing, not in this format, of another version, or cut short.
        """
        self.prefix = prefix
        n, m = self._read_header()
        offsets = np.cumsum([HEADER.size, 4 * n, 8 * n, 8 * m])
        _expect_size(_idx(prefix), int(offsets[-1]))
        index = np.memmap(_idx(prefix), dtype=np.uint8, mode="r")
        self.lengths: npt.NDArray[np.int32] = index[offsets[0] : offsets[1]].view("<i4")
        self._pointers: npt.NDArray[np.int64] = index[offsets[1] : offsets[2]].view("<i8")
        if n and self.lengths.min() < 0:
            raise InputError(
                f"{_idx(prefix)}: document {int(self.lengths.argmin())} has a negative length; write it anew"
            )
        ends = self._pointers + self.lengths.astype(np.int64) * self.dtype.itemsize
        if n and self._pointers.min() < 0:
            raise InputError(f"{_idx(prefix)}: a document begins before the file does; write it anew")
        needed = int(ends.max(initial=0))
        _expect_size(_bin(prefix), needed)
        self._tokens = np.memmap(_bin(prefix), dtype=np.uint8, mode="r") if needed else np.empty(0, np.uint8)

    def _read_header(self) -> tuple[int, int]:
        path = _idx(self.prefix)
        try:
            with path.open("rb") as file:
                head = file.read(HEADER.size)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; expected the index of a tokenized set") from None
        if not head.startswith(MAGIC):
            raise InputError(f"{path}: not a Megatron index: it begins with {head[:9]!r}, not {MAGIC!r}")
        if len(head) < HEADER.size:
            raise InputError(f"{path}: cut short: {len(head)} bytes, the header alone has {HEADER.size}")
        _, version, code, n, m = HEADER.unpack(head)
        if version != VERSION:
            raise InputError(f"{path}: version {version} of the index format; expected {VERSION}")
        dtypes = {known: dtype for dtype, known in DTYPE_CODES.items()}
        if code not in dtypes:
            raise InputError(f"{path}: token type code {code}; expected one of {sorted(dtypes)}")
        self.dtype = dtypes[code]
        return n, m

    @property
    def num_tokens(self) -> int:
        """Tokens of all documents together."""
        return int(self.lengths.sum(dtype=np.int64))

    def __len__(self) -> int:
        return self.lengths.size

    def __getitem__(self, i: int) -> npt.NDArray[np.integer]:
        if not -len(self) <= i < len(self):
            raise IndexError(f"document {i} of {len(self)} in {self.prefix}")
        start = self._pointers[i]
        return self._tokens[start : start + int(self.lengths[i]) * self.dtype.itemsize].view(self.dtype)

    def starts_between(self, start: int, end: int) -> npt.NDArray[np.int64]:
        """Which tokens from `start` to `end` - 1 begin a document, where documents lie end to end in the file."""
        # Not np.searchsorted: the file's integers are not aligned, so it would copy them all first.
        first, last = (bisect_left(self._pointers, token * self.dtype.itemsize) for token in (start, end))
        return self._pointers[first:last] // self.dtype.itemsize

    def run(self, first: int, count: int) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.int32]]:
        """Tokens of `count` > 0 documents that lie one after the other in the file, end to end, and their lengths."""
        last = first + count - 1
        end = self._pointers[last] + int(self.lengths[last]) * self.dtype.itemsize
        return self._tokens[self._pointers[first] : end].view(self.dtype), self.lengths[first : first + count]

    def __iter__(self) -> Iterator[npt.NDArray[np.integer]]:
        return (self[i] for i in range(len(self)))


def _bin(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".bin")


def _idx(prefix: Path) -> Path:
    return prefix.with_name(prefix.name + ".idx")


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


def _finish(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


def _expect_size(path: Path, expected: int) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file, though its index is there")
    size = path.stat().st_size
    if size < expected:
        raise InputError(f"{path}: cut short: {size} bytes, the index says {expected}; write it anew")
