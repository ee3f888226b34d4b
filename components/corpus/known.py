"""What a corpus leaves for those that add to it: by which keys its works are known.

A later corpus reads none of the documents again. It asks whether a key of one of its own documents is among these:
such a document is a work that is known already, and adds nothing. There are two exceptions, as if both had been
built together: a paper is still taken in when all that is known is its abstract (`dedup.PREFERENCE`); and of a work
that is held out or contaminated nothing ever is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from components.corpus import dedup, identify
from components.corpus.index import Index
from components.platform.manifest import Manifest

FOLDER = "known"
NEVER = -1
"""The rank of works of which no other form is taken in."""

UNKNOWN = len(dedup.PREFERENCE)
REPLAY = dedup.PREFERENCE.index("replay")


def ranks(labels: npt.NDArray[np.int32], own: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """The smallest rank of the documents of each one's work, shape (n,).

    Args:
        labels: the work of each document, shape (n,).
        own: rank of each document, shape (n,).
    """
    best = np.full(labels.max(initial=-1) + 1, UNKNOWN, dtype=np.int8)
    np.minimum.at(best, labels, own)
    return best[labels]


def write(folder: Path, index: Index, rank: npt.NDArray[np.int8]) -> None:
    """Write a file for each key: its values, and the rank of the work that has them.

    Args:
        rank: for each document the best group of its work (its place in `dedup.PREFERENCE`), or NEVER, shape (n,).
    """
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    for name in _keys(index):
        values, rows = index.present(name)
        pl.DataFrame({"value": values, "rank": rank[rows]}).write_parquet(folder / _file(name))


def of_works(
    index: Index, labels: npt.NDArray[np.int32], groups: npt.NDArray[np.int8], before: Sequence[Manifest]
) -> npt.NDArray[np.bool_]:
    """Which documents are works that earlier corpora know, shape (n,). Replay is there to be repeated: none of it is.

    One key after the other is in memory, with 9 bytes for each known document that has it.

    Args:
        labels: the work of each document, shape (n,).
        groups: place of each document's group in `dedup.PREFERENCE`, shape (n,).
    """
    found = np.full(len(index), UNKNOWN, dtype=np.int8)
    for name in _keys(index):
        values, rows = index.present(name)
        own = pl.DataFrame({"value": values, "row": rows})
        for corpus in before:
            if corpus.has(_file(name)):  # an earlier recipe may have looked for near-duplicates otherwise
                shared = own.join(pl.read_parquet(corpus.fetch(_file(name))), on="value")
                np.minimum.at(found, shared["row"].to_numpy(), shared["rank"].to_numpy())
    return (ranks(labels, found) <= groups) & (groups != REPLAY)


def _keys(index: Index) -> Iterable[str]:
    return (*(f"key_{name}" for name in identify.KEYS), *index.bands)


def _file(key: str) -> str:
    return f"{FOLDER}/{key}.parquet"
