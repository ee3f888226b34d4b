"""Training or validation, and every other decision by chance: a hash of the document's id and the seed.

So a decision does not depend on the order, number or place of the documents, and stays when others are added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import polars as pl

HASH_RANGE = float(2**64)


def fractions(ids: pl.Series, seed: int, purpose: str) -> pl.Series:
    """A number in [0, 1) for each id: evenly spread, the same everywhere, and independent between purposes."""
    salt = f"{seed}:{purpose}:".encode()
    return pl.Series(
        [int.from_bytes(hashlib.blake2b(salt + id_.encode(), digest_size=8).digest()) / HASH_RANGE for id_ in ids],
        dtype=pl.Float64,
    )


def assigned(index: pl.DataFrame, validation_fraction: Mapping[str, float], seed: int) -> pl.Series:
    """ "train" or "validation" for each row of `index` (columns `id` and `source`).

    Args:
        validation_fraction: by source, the share of its documents held out.
    """
    held_out = fractions(index["id"], seed, "split") < index["source"].replace_strict(
        validation_fraction, return_dtype=pl.Float64
    )
    return pl.select(split=pl.when(held_out).then(pl.lit("validation")).otherwise(pl.lit("train")))["split"]


def sample(index: pl.DataFrame, size: str, limit: int, seed: int, purpose: str) -> pl.Series:
    """Documents drawn by hash until their sizes reach `limit`.

    Args:
        index: documents with the columns `row`, `id` and the one that `size` names.

    Returns:
        Values of the column `row`.
    """
    drawn = index.with_columns(chance=fractions(index["id"], seed, purpose)).sort("chance", "id")
    return drawn["row"].filter(drawn[size].cum_sum() - drawn[size] < limit)
