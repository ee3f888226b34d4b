"""Deduplication by identifiers and by text, over all sources at once.

Documents that share a PMID, PMCID, DOI, corpusid or text are one work, and so is a chain of such documents. Of each
work one document stays: a paper before its abstract, as in Meditron, then in the order of the recipe.
"""

from __future__ import annotations

import polars as pl

from components.corpus.batch import IDENTIFIERS

KEYS = (*IDENTIFIERS, "text_key")
# A paper holds its abstract; a guideline is the rarest; replayed text is there for its style
PREFERENCE = ("papers", "guidelines", "abstracts", "replay")


def duplicates(index: pl.DataFrame) -> pl.Series:
    """Which rows of `index` are duplicates, and by what.

    Args:
        index: all documents in the order of the recipe, with the columns `group` and `KEYS`; null is no key.

    Returns:
        One value per row: null for documents that stay, else the key shared with a document that stays or is
        itself such a duplicate ("duplicate_pmid", ...).
    """
    preference = pl.col("group").replace_strict({group: i for i, group in enumerate(PREFERENCE)}, return_dtype=pl.Int8)
    ranked = index.select("group", *KEYS).with_row_index("row").sort(preference, "row").with_row_index("rank")
    work = _smallest_reachable(ranked)
    is_shared = {key: pl.col(key).is_not_null() & (pl.len().over(key) > 1) for key in KEYS}
    shared = [
        pl.when(condition).then(pl.lit(f"duplicate_{key.removesuffix('_key')}")) for key, condition in is_shared.items()
    ]
    reason = pl.when(work != pl.col("rank")).then(pl.coalesce(*shared))
    return ranked.with_columns(reason=reason).sort("row")["reason"]


def _smallest_reachable(ranked: pl.DataFrame) -> pl.Series:
    """For each row, the smallest rank among the rows it is connected to through shared keys.

    Each round hands the smallest rank on through one key after the other, until nothing changes; a chain of n
    documents needs at most n rounds, real data two or three.
    """
    work = ranked["rank"]
    while True:
        before = work
        for key in KEYS:
            smallest = pl.when(pl.col(key).is_not_null()).then(pl.col("work").min().over(key)).otherwise("work")
            work = ranked.select(key).with_columns(work=work).select(smallest.alias("work"))["work"]
        if work.equals(before):
            return work
