"""Deduplication over all sources at once: documents that share a key are one work, and of each work one stays.

Keys are 64-bit hashes, null where a document has none: its identifiers, its text, and the bands of its MinHash
signature (`minhash`). A chain of documents, each sharing a key with the next, is one work too.

Memory, in bytes for n documents of which e share keys with a neighbour: while a key is added 8n for its values, 8n
for their order, 8n for the values in order and n for comparing them; and over all keys 16e for the pairs found and n
for the reasons. The keys themselves are read one after the other, so their number does not matter.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# A paper holds its abstract, as in Meditron; a guideline is the rarest; replayed text is there for its style
PREFERENCE = ("papers", "guidelines", "abstracts", "replay")

KEEP = 0  # code of documents that share no key; others have 1 + the number of the first key they share


class Works:
    """Documents, joined into works key by key.

    Attributes:
        keys: names of the keys added so far.
        shared: for each document KEEP, or 1 + the place in `keys` of the first key it shares, shape (n,).
    """

    def __init__(self, documents: int) -> None:
        self.keys: list[str] = []
        self.shared = np.full(documents, KEEP, dtype=np.int8)
        self._pairs: list[npt.NDArray[np.int64]] = []

    def add(self, key: str, values: npt.NDArray[np.uint64], rows: npt.NDArray[np.int64]) -> None:
        """Join the documents with equal values of one key.

        Args:
            key: its name; several keys may have the same (the bands of one signature).
            values: the key of each document that has one, shape (m,).
            rows: the numbers of these documents, shape (m,).
        """
        if key not in self.keys:
            self.keys.append(key)
        order = np.argsort(values, kind="stable")
        in_order = values[order]
        equal = in_order[1:] == in_order[:-1]
        pairs = np.stack([rows[order[:-1][equal]], rows[order[1:][equal]]])
        self._pairs.append(pairs)
        members = pairs.ravel()
        unset = members[self.shared[members] == KEEP]
        self.shared[unset] = 1 + self.keys.index(key)

    def labels(self) -> npt.NDArray[np.int32]:
        """The work that each document belongs to, shape (n,): numbers from 0."""
        first, second = np.concatenate([np.empty((2, 0), np.int64), *self._pairs], axis=1)
        size = self.shared.size
        graph = coo_array((np.ones(first.size, dtype=bool), (first, second)), shape=(size, size))
        return connected_components(graph, directed=False)[1]


def chosen(labels: npt.NDArray[np.int32], rank: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which documents stay: of each work the one with the smallest rank.

    Args:
        labels: the work of each document, shape (n,).
        rank: a permutation of 0..n-1; documents with small ranks are preferred, shape (n,).
    """
    best = np.full(labels.max(initial=-1) + 1, labels.size, dtype=np.int64)
    np.minimum.at(best, labels, rank)
    return best[labels] == rank


def ranks(
    groups: npt.NDArray[np.int8], latest_first: npt.NDArray[np.bool_], last: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Order of preference: by group, then in the order of the recipe, shape (n,).

    Args:
        groups: place of each document's group in PREFERENCE, shape (n,); documents in the order of the recipe.
        latest_first: whether of a source's documents the later one is the newer revision, shape (n,). Such a
            document is preferred to the ones before it of the same group.
        last: documents that any other is preferred to, shape (n,).
    """
    position = np.arange(groups.size)
    return np.argsort(np.lexsort((np.where(latest_first, -position, position), groups, last)))
