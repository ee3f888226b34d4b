"""Training or validation, and every other decision by chance: a hash of the document's id and the seed.

So a decision does not depend on the order, number or place of the documents, and stays when others are added.
Of documents that are one work only one stays in the corpus (`dedup`), so near-duplicates never lie on both sides.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

MANTISSA_BITS = 53  # of a float64: more of the hash would round up to 1


def fractions(keys: npt.NDArray[np.uint64], seed: int, purpose: str) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each document: evenly spread, the same everywhere, and independent between purposes.

    The mixing function is the finalizer of SplitMix64 (Steele, Lea and Flood, 2014), applied to key + salt.

    Args:
        keys: hashes of the documents' ids (`identify.key`), shape (n,).
    """
    salt = int.from_bytes(hashlib.blake2b(f"{seed}:{purpose}".encode(), digest_size=8).digest())
    mixed = keys + np.uint64(salt)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(64 - MANTISSA_BITS)) / 2.0**MANTISSA_BITS


def order(keys: npt.NDArray[np.uint64], seed: int, purpose: str) -> npt.NDArray[np.int64]:
    """A shuffled order of documents that depends on nothing but their ids, shape (n,)."""
    return np.lexsort((keys, fractions(keys, seed, purpose)))


def sample(
    keys: npt.NDArray[np.uint64], sizes: npt.NDArray[np.integer], limit: int, seed: int, purpose: str
) -> npt.NDArray[np.int64]:
    """Numbers of documents, drawn by hash until their sizes reach `limit`."""
    drawn = order(keys, seed, purpose)
    size = sizes[drawn].astype(np.int64)
    return drawn[np.cumsum(size) - size < limit]
