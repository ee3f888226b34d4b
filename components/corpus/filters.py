"""Filters: what is too short, under a licence that isn't allowed, or retracted."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from components.corpus import licence
from components.corpus.batch import Drops, keep_where

# Publishers and Semantic Scholar mark retracted works in the title: "RETRACTED: ...", "[Retracted] ..."
_RETRACTED_TITLE = r"(?i)^\W*(?:retracted(?: article)?|withdrawn(?: article)?)\s*[:.\]\-–—]"


@dataclass(frozen=True)
class Filters:
    """The filter step.

    Args:
        min_characters: shortest text that is kept, in characters.
        licences: licences that are allowed, as `licence.normalised` spells them; None allows all.
        unknown_licence: whether documents that state no licence are allowed, where `licences` is given.
        pubmed_only: keep only what has a PMID or PMCID.
    """

    min_characters: int
    licences: tuple[str, ...] | None
    unknown_licence: bool
    pubmed_only: bool

    def __call__(self, batch: pl.DataFrame) -> tuple[pl.DataFrame, Drops]:
        unknown = pl.col("licence") == licence.UNKNOWN
        conditions = {
            "retracted": ~(pl.col("retracted") | pl.col("title").str.contains(_RETRACTED_TITLE)),
            "too_short": pl.col("text").str.len_chars() >= self.min_characters,
        }
        if self.licences is not None:
            if not self.unknown_licence:
                conditions["licence_unknown"] = ~unknown
            conditions["licence_not_allowed"] = pl.col("licence").is_in(self.licences) | unknown
        if self.pubmed_only:
            conditions["not_in_pubmed"] = pl.col("pmid").is_not_null() | pl.col("pmcid").is_not_null()
        return keep_where(batch, conditions)
