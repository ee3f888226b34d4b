"""Upsampling: papers that matter most to medicine are trained on more than once (paper, Table 10).

A paper's factor is the sum of what its publication types, its journal, its age and its citations are worth; age and
citations count only for papers that one of the former two speaks for. It is then read 1 + factor × fold times, the
fraction rounded at random. The paper's script drops what it excludes by a factor of -1,000,000; here it has a name.

Unlike that script, which leaves out all papers with incomplete metadata: a paper without a date is read once, and
one whose citations are unknown gets nothing for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field, model_validator

from components.corpus import split
from components.corpus.batch import Drops
from components.corpus.index import Index
from components.platform.settings import Settings

DAYS_OF_YEAR = 365
MOST_COPIES = 255
COLUMNS = {"upsampling_factor": pl.Float32, "upsampling_citations": pl.Float32, "upsampling_excluded": pl.Int8}
_MARKS_IN_TITLES = r"[:,.-]"


class Recency(Settings):
    """What a paper is worth that is not older than some years."""

    years: float = Field(gt=0, description="age up to which it applies, in years of 365 days")
    factor: float = Field(ge=0)


class Citations(Settings):
    """What citations per year are worth, by quartile over all papers."""

    top: float = Field(default=1.0, ge=0, description="factor of the top quarter")
    middle: float = Field(default=0.5, ge=0, description="factor of the half between")
    bottom: float = Field(default=0.0, ge=0, description="factor of the bottom quarter")


class Upsampling(Settings):
    """How often papers are repeated (paper, Table 10). Names are PubMed's; others in a paper's record count nothing."""

    fold: float = Field(default=1.0, gt=0, description="factors are multiplied by this")
    publication_types: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={
            "Guideline": 1.0,
            "Practice Guideline": 1.0,
            "Patient Education Handout": 1.0,
            "Meta-Analysis": 1.0,
            "Systematic Review": 0.8,
            "Clinical Trial, Phase IV": 0.8,
            "Clinical Trial, Phase III": 0.6,
            "Clinical Trial, Phase II": 0.4,
            "Clinical Trial, Phase I": 0.2,
            "Randomized Controlled Trial": 0.5,
            "Review": 0.5,
            "Observational Study": 0.5,
            "Comparative Study": 0.5,
            "Clinical Study": 0.4,
            "Editorial": 0.1,
            "Letter": 0.1,
            "Comment": 0.1,
        },
        description="factor of each publication type; those of one paper add up",
    )
    journals: tuple[str, ...] = Field(
        default=(), description="titles of approved journals; case and the marks : , . - make no difference"
    )
    journal: float = Field(default=1.0, ge=0, description="factor of an approved journal")
    recency: tuple[Recency, ...] = Field(
        default=(Recency(years=5.5, factor=1.0), Recency(years=10, factor=0.2)),
        description="factors by age, the youngest first; the first that applies counts",
    )
    reference_date: date = Field(default=date(2023, 7, 15), description="the day at which ages are taken")
    citations: Citations = Field(default=Citations(), description="factors of citations per year")
    exclude: bool = Field(
        default=True, description="drop papers that are excluded; otherwise they stay, and are read once"
    )
    excluded_types: tuple[str, ...] = Field(
        default=(
            "Retracted Publication",
            "Retraction of Publication",
            "Preprint",
            "Observational Study, Veterinary",
        ),
        description="publication types that are excluded",
    )
    excluded_mesh: tuple[str, ...] = Field(default=("Animals",), description="MeSH descriptors that are excluded")

    @model_validator(mode="after")
    def _ages_ascend(self) -> Self:
        ages = [tier.years for tier in self.recency]
        if ages != sorted(set(ages)):
            raise ValueError(f"recency: expected the youngest first and each age once, found {ages}")
        return self

    @model_validator(mode="after")
    def _counts_fit(self) -> Self:
        tiers = [tier.factor for tier in self.recency]
        citations = max(self.citations.top, self.citations.middle, self.citations.bottom)
        highest = sum(self.publication_types.values()) + self.journal + max(tiers, default=0.0) + citations
        if highest * self.fold > MOST_COPIES - 1:
            raise ValueError(
                f"fold: with it a paper could be read {1 + highest * self.fold:.0f} times; "
                f"at most {(MOST_COPIES - 1) / highest:.1f} here"
            )
        return self

    def exclusions(self) -> dict[str, tuple[str, str]]:
        """Column and name in it that exclude a paper, by the reason under which that is counted."""
        named = [("publication_types", name) for name in self.excluded_types]
        named += [("mesh", name) for name in self.excluded_mesh]
        return {f"excluded_{'_'.join(re.findall(r'[a-z0-9]+', name.lower()))}": (where, name) for where, name in named}


@dataclass(frozen=True)
class UpsamplingColumns:
    """A step that adds what decisions on upsampling need to know of a document, 9 bytes.

    Columns: `upsampling_factor` (Float32), the factor without citations; `upsampling_citations` (Float32), citations
    per begun year, null where unknown; `upsampling_excluded` (Int8), number of the exclusion, null for none.

    Documents of all groups get them: of a paper and its abstract from PubMed, the latter knows the types and the
    MeSH descriptors. Of a date without month or day, the first day that it can mean counts.
    """

    settings: Upsampling

    def __call__(self, batch: pl.DataFrame) -> tuple[pl.DataFrame, Drops]:
        settings = self.settings
        day = (pl.col("published") + "-01-01").str.slice(0, len("2023-07-15")).str.to_date("%Y-%m-%d", strict=False)
        age = (pl.lit(settings.reference_date) - day).dt.total_days()
        begun_years = pl.max_horizontal(age // DAYS_OF_YEAR + 1, 1)
        worth = pl.sum_horizontal(
            *(_listed("publication_types", name) * factor for name, factor in settings.publication_types.items()),
            _plain(pl.col("venue")).is_in(_plain(pl.Series(settings.journals, dtype=pl.String)).implode())
            * settings.journal,
        )
        recent = pl.coalesce(
            *(pl.when(age <= tier.years * DAYS_OF_YEAR).then(tier.factor) for tier in settings.recency), 0.0
        )
        excluded = (
            pl.when(_listed(column, name)).then(number)
            for number, (column, name) in enumerate(settings.exclusions().values())
        )
        columns = batch.with_columns(
            upsampling_factor=pl.when(day.is_not_null() & (worth > 0)).then(worth + recent).otherwise(0.0),
            # A date that is missing gives null, and not 1 year
            upsampling_citations=pl.when(day.is_not_null()).then(pl.col("citations") / begun_years),
            upsampling_excluded=pl.coalesce(*excluded, None),
        )
        return columns.cast(COLUMNS), {}


def decided(
    index: Index,
    settings: Upsampling,
    papers: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.int32],
    keys: npt.NDArray[np.uint64],
    seed: int,
) -> tuple[pl.Series, npt.NDArray[np.uint8]]:
    """Which documents are excluded, and how often the others are to be read.

    What one document of a work is known for holds for the work: the larger factor, the higher number of citations.

    Args:
        papers: whether each document is a paper, shape (n,); others are never excluded, and read once.
        labels: the work that each document is (`dedup.Works`), shape (n,).
        keys: hashes of the documents' ids, shape (n,).

    Returns:
        The reason of each document that is excluded, null for others, and the counts, both shape (n,).
    """
    exclusions = list(settings.exclusions())
    excluded = np.full(labels.max(initial=-1) + 1, len(exclusions), dtype=np.int8)
    numbers, documents = index.present("upsampling_excluded")
    np.minimum.at(excluded, labels[documents], numbers)
    excluded = np.where(papers, excluded[labels], len(exclusions)).astype(np.int8)
    upsampled = papers & (excluded == len(exclusions))

    citations = _highest(index.column("upsampling_citations"), labels)
    works_of_papers = np.unique(labels[papers])
    earned = of_citations(citations, thresholds(citations[works_of_papers]), settings.citations)[labels]
    factors = _highest(index.column("upsampling_factor"), labels)[labels]
    factors = np.where(upsampled & (factors > 0), factors + earned, 0)

    reasons = pl.Series(
        [*exclusions, None] if settings.exclude else [None] * (len(exclusions) + 1), dtype=pl.Categorical
    )
    return reasons.gather(excluded), counts(factors, settings.fold, keys, seed)


def thresholds(citations: npt.NDArray[np.floating]) -> tuple[float, float]:
    """The first and the third quartile of citations per year; those that are unknown (NaN) don't count."""
    known = citations[~np.isnan(citations)]
    if not known.size:
        return 0.0, 0.0  # nobody is compared with them
    bottom, top = np.quantile(known, (0.25, 0.75))
    return float(bottom), float(top)


def of_citations(
    citations: npt.NDArray[np.floating], quartiles: tuple[float, float], settings: Citations
) -> npt.NDArray[np.float32]:
    """What citations per year are worth, shape (n,); a value that is a quartile belongs below it, NaN is worth 0."""
    bottom, top = quartiles
    quarters = [citations > top, citations > bottom, citations <= bottom]
    return np.select(quarters, [settings.top, settings.middle, settings.bottom], 0.0).astype(np.float32)


def counts(
    factors: npt.NDArray[np.floating], fold: float, keys: npt.NDArray[np.uint64], seed: int
) -> npt.NDArray[np.uint8]:
    """1 + factor × fold, the fraction rounded up with a probability equal to it, by a hash of key and seed."""
    exact = 1 + factors.astype(np.float64) * fold
    whole = np.floor(exact)
    return (whole + (split.fractions(keys, seed, "upsampling") < exact - whole)).astype(np.uint8)


def _highest(values: pl.Series, labels: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """The highest value among the documents of each work; NaN where none is known, shape (number of works,)."""
    highest = np.full(labels.max(initial=-1) + 1, np.nan, dtype=np.float32)
    np.fmax.at(highest, labels, values.fill_null(np.nan).to_numpy())
    return highest


def _listed(column: str, name: str) -> pl.Expr:
    return pl.col(column).list.contains(name).fill_null(False)


def _plain(titles: pl.Expr | pl.Series) -> pl.Expr | pl.Series:
    """Journals' titles as they are compared."""
    return titles.str.to_lowercase().str.replace_all(_MARKS_IN_TITLES, "").str.strip_chars()
