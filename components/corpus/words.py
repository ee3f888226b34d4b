"""The words of a batch as flat arrays of hashes: split once, used for near-duplicates and for decontamination.

A word is a run of letters, marks and digits of any script, in lower case. What a reference to the literature says is
left out: the title of a cited work is no text of the document. PubMedQA's questions *are* titles of articles, so
every paper that cites one of them would otherwise look like a leak.

All hashes are fixed arithmetic on bytes: the same on every machine, in every version and for every batch size.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

from components.corpus import markup

Hashes = npt.NDArray[np.uint64]

_CITED = r"\[bib_ref\].*?\[/bib_ref\]"
_TOKENS = "|".join(rf"\[/?{kind}\]" for kind in markup.KINDS if kind != "bib_ref")
# Of a longer word these bytes and the length count: genetic sequences, encoded images, scripts without spaces
_LONGEST = 64
# Odd, so that a multiplication loses nothing (constants of SplitMix64 and of murmur3's finaliser)
_STEP, _MIX_1, _MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_FIRST_BYTES = np.array([(1 << 8 * count) - 1 for count in range(9)], dtype=np.uint64)

_LOWER = bytes(range(256)).lower()
_IS_WORD = bytes(byte >= 0x80 or chr(byte).isalnum() for byte in range(256))
_SPACE = ord(" ")


@dataclass(frozen=True)
class Words:
    """The words of n documents, m in all.

    Attributes:
        hashes: of each word, shape (m,).
        offsets: where each document's words begin in `hashes`, and the end of the last, shape (n + 1,).
    """

    hashes: Hashes
    offsets: npt.NDArray[np.int64]
    _text: npt.NDArray[np.uint8]
    _starts: npt.NDArray[np.int64]
    _ends: npt.NDArray[np.int64]

    @classmethod
    def of(cls, texts: pl.Series) -> Words:
        """Split the texts of a batch, one document each."""
        text, documents = _joined(_without_markup(texts))
        is_word = np.frombuffer(text.tobytes().translate(_IS_WORD), dtype=np.uint8)
        edges = np.flatnonzero(is_word[1:] != is_word[:-1]) + 1
        starts, ends = edges[0::2], edges[1::2]
        return cls(_hashes(text, starts, ends), np.searchsorted(starts, documents), text, starts, ends)

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Words of each document, shape (n,)."""
        return np.diff(self.offsets)

    def keys(self, skip: npt.NDArray[np.int64]) -> pl.Series:
        """A 64-bit hash of each document's words in their order, without the first `skip` of them (shape (n,)).

        Null for a document with no words more.
        """
        starts, ends = np.minimum(self.offsets[:-1] + skip, self.offsets[1:]), self.offsets[1:]
        places = (np.arange(len(self.hashes)) - np.repeat(starts, self.counts)).astype(np.uint64)
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_stirred(self.hashes, places))])
        keys = pl.Series(_stirred(sums[ends] - sums[starts], (ends - starts).astype(np.uint64)))
        return pl.select(pl.when(pl.Series(ends > starts)).then(keys)).to_series()

    def ngrams(self, n: int) -> Hashes:
        """Hashes of n words in a row, one for each place such a row begins, shape (max(m - n + 1, 0),).

        Those that run on into the next document are among them; `inside` tells.
        """
        count = max(len(self.hashes) - n + 1, 0)
        return combined([self.hashes[word : word + count] for word in range(n)])

    def inside(self, n: int) -> npt.NDArray[np.bool_]:
        """Which of `ngrams` lie within one document, shape (max(m - n + 1, 0),)."""
        ends = np.repeat(self.offsets[1:], np.diff(self.offsets))
        return (np.arange(len(ends)) + n <= ends)[: max(len(ends) - n + 1, 0)]

    def documents(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The document that each of some places in `hashes` belongs to, same shape."""
        return np.searchsorted(self.offsets, places, "right") - 1

    def excerpt(self, document: int, word: int, characters: int) -> str:
        """At most that many characters of a document from `word` on (a place in `hashes`), as they were compared."""
        if word >= self.offsets[document + 1]:
            return ""
        begin, end = self._starts[word], self._ends[self.offsets[document + 1] - 1]
        piece = self._text[begin : min(end, begin + 4 * characters)].tobytes()
        return " ".join(piece.decode(errors="ignore").split())[:characters]


def _without_markup(texts: pl.Series) -> pl.Series:
    """Texts without citations and structure tokens; each begins with a line break, which keeps it from the last."""
    bare = pl.col("text").str.replace_all(_CITED, " ").str.replace_all(_TOKENS, " ")
    return texts.to_frame("text").select(pl.concat_str(pl.lit("\n"), bare)).to_series()


def _joined(texts: pl.Series) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Lower-case UTF-8 of all texts end to end with zeros after it; where each text begins, and the last one ends."""
    _, offsets, data = texts.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).buffers()
    documents = np.frombuffer(offsets, dtype=np.int64)[: len(texts) + 1] if len(texts) else np.zeros(1, np.int64)
    text = np.zeros(documents[-1] + _LONGEST, dtype=np.uint8)
    if documents[-1]:
        lower = memoryview(data)[: documents[-1]].tobytes().translate(_LOWER)
        text[: documents[-1]] = np.frombuffer(lower, dtype=np.uint8)
        _fold_beyond_ascii(text)
    return text, documents


def _fold_beyond_ascii(text: npt.NDArray[np.uint8]) -> None:
    """Put lower case for letters beyond ASCII, and spaces for all but letters, marks and digits, in place."""
    first = np.flatnonzero(text >= 0xC0)
    sizes = 2 + (text[first] >= 0xE0) + (text[first] >= 0xF0).astype(np.int64)
    for size in (2, 3, 4):
        places = first[sizes == size]
        codes = text[places].astype(np.uint32) & (0x7F >> size)
        for byte in range(1, size):
            codes = codes << 6 | text[places + byte] & 0x3F
        folded = _folded()[codes]
        changed = folded != codes
        places, folded = places[changed], folded[changed]
        is_space = folded == _SPACE
        for byte in range(size - 1, -1, -1):
            lead = 0x80 if byte else 0xF00 >> size & 0xFF
            text[places + byte] = np.where(is_space, _SPACE, lead | folded & (0x3F if byte else 0x7F >> size))
            folded = folded >> 6


@cache
def _folded() -> npt.NDArray[np.uint32]:
    """What becomes of each code point. Letters whose lower case has another length in UTF-8 stay as they are."""
    codes = np.arange(0x110000, dtype=np.uint32)
    for code in range(0x80, 0x20000):  # beyond are only ideographs
        character = chr(code)
        if unicodedata.category(character)[0] not in "LMN":
            codes[code] = _SPACE
        elif (lower := character.lower()) != character and len(lower) == 1:
            codes[code] = ord(lower) if _bytes(ord(lower)) == _bytes(code) else code
    return codes


def _bytes(code: int) -> int:
    return 1 + (code >= 0x80) + (code >= 0x800) + (code >= 0x10000)


def _hashes(text: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> Hashes:
    """Eight bytes at a time, after the length. Two words share a hash by a chance of 2^-64."""
    eights = np.ndarray((len(text) - 7,), dtype="<u8", buffer=text, strides=(1,))
    lengths = ends - starts
    hashes = _stirred(lengths.astype(np.uint64), eights[starts] & _FIRST_BYTES[np.minimum(lengths, 8)])
    for offset in range(8, _LONGEST, 8):
        rows = np.flatnonzero(lengths > offset)
        if not len(rows):
            break
        bytes_left = np.minimum(lengths[rows] - offset, 8)
        hashes[rows] = _stirred(hashes[rows], eights[starts[rows] + offset] & _FIRST_BYTES[bytes_left])
    return hashes


def _stirred(hashes: Hashes, more: Hashes) -> Hashes:
    hashes = (hashes * _STEP + more) * _MIX_1
    return hashes ^ (hashes >> np.uint64(32))


def combined(columns: Sequence[Hashes]) -> Hashes:
    """One hash of the values at the same place of all columns, in their order.

    The sum of values times fixed odd numbers modulo 2^64, its bits mixed as at the end of murmur3.
    """
    total, factor = np.zeros_like(columns[0], dtype=np.uint64), int(_STEP)
    for column in columns:
        total += column * np.uint64(factor)
        factor = factor * int(_MIX_1) % 2**64
    for multiplier in (_MIX_1, _MIX_2):
        total = (total ^ (total >> np.uint64(33))) * multiplier
    return total ^ (total >> np.uint64(33))
