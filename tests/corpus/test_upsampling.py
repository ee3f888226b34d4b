"""Upsampling: what a paper is worth (paper, Table 10), what is excluded, and how often it is read."""

import math
import statistics
from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from components.corpus import batch, identify, split, upsampling
from components.corpus.index import INDEX, Index
from components.corpus.sources.document import Document
from components.corpus.upsampling import Citations, Recency, Upsampling, UpsamplingColumns

NEW, MIDDLE, OLD = "2023-01-01", "2015-01-01", "2000-01-01"
APPROVED = Upsampling(journals=("The Lancet: Global Health", "BMJ"))


def columns(*documents, settings=APPROVED):
    frame = batch.of_documents([(f"f:{i}", document) for i, document in enumerate(documents)], "s", "papers")
    result, drops = UpsamplingColumns(settings)(frame)
    assert drops == {}
    assert result.height == len(documents)
    return result.select(*upsampling.COLUMNS)


def factor(settings=APPROVED, **fields):
    return columns(Document("", "", **fields), settings=settings)["upsampling_factor"].item()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"publication_types": ("Review",), "published": OLD}, 0.5),
        ({"publication_types": ("Review", "Meta-Analysis", "Comment"), "published": OLD}, 1.6),
        ({"publication_types": ("Review", "Review"), "published": OLD}, 0.5),
        ({"publication_types": ("Journal Article", "review"), "published": NEW}, 0.0),
        ({"publication_types": ("Review",), "published": NEW}, 1.5),
        ({"publication_types": ("Review",), "published": MIDDLE}, 0.7),
        ({"publication_types": ("Review",), "published": "2030"}, 1.5),
        ({"publication_types": ("Review",), "published": None}, 0.0),
        ({"publication_types": ("Review",), "published": "2023-13-45"}, 0.0),
        ({"venue": "BMJ", "published": OLD}, 1.0),
        ({"venue": " the lancet, global HEALTH. ", "published": OLD}, 1.0),
        ({"venue": "BMJ Open", "published": NEW}, 0.0),
        ({"venue": "BMJ", "publication_types": ("Guideline",), "published": NEW}, 3.0),
        ({"published": NEW}, 0.0),
    ],
)
def test_factors_without_citations_add_up(fields, expected):
    assert factor(**fields) == pytest.approx(expected)


def test_ages_are_counted_in_years_of_365_days():
    settings = Upsampling(recency=(Recency(years=2, factor=1.0),), reference_date=date(2023, 7, 15))
    review = {"publication_types": ("Review",), "settings": settings}
    assert factor(published="2021-07-15", **review) == 1.5  # 730 days
    assert factor(published="2021-07-14", **review) == 0.5
    assert factor(published="2021-07", **review) == 0.5  # the first day that it can mean
    assert factor(published="2021-08", **review) == 1.5
    assert factor(published="2022", **review) == 1.5


def test_citations_are_counted_per_begun_year():
    settings = Upsampling(reference_date=date(2023, 7, 15))
    documents = [
        Document("", "", published=published, citations=citations)
        for published, citations in (
            ("2023-07-15", 6),
            ("2022-07-16", 6),
            ("2022-07-15", 6),
            ("2024", 6),
            (None, 6),
            ("2022", None),
            ("2022-07-15", 0),
        )
    ]
    assert columns(*documents, settings=settings)["upsampling_citations"].to_list() == [6, 6, 3, 6, None, None, 0]


def test_exclusions_have_names():
    names = list(APPROVED.exclusions())
    assert names == [
        "excluded_retracted_publication",
        "excluded_retraction_of_publication",
        "excluded_preprint",
        "excluded_observational_study_veterinary",
        "excluded_animals",
    ]
    documents = [
        Document("", "", publication_types=("Review", "Preprint")),
        Document("", "", mesh=("Animals", "Humans")),
        Document("", "", publication_types=("Preprint", "Retracted Publication"), mesh=("Animals",)),
        Document("", "", publication_types=("Animals",), mesh=("Preprint", "Animals, Newborn")),
    ]
    found = columns(*documents)["upsampling_excluded"].to_list()
    assert [None if number is None else names[number] for number in found] == [
        "excluded_preprint",
        "excluded_animals",
        "excluded_retracted_publication",
        None,
    ]


def test_no_rules_and_no_documents():
    bare = Upsampling(publication_types={}, recency=(), excluded_types=(), excluded_mesh=())
    assert columns(Document("", "", published=NEW), settings=bare).rows() == [(0.0, None, None)]
    for settings in (bare, APPROVED):
        assert dict(columns(settings=settings).schema) == upsampling.COLUMNS


def test_settings_are_checked():
    with pytest.raises(ValidationError, match="youngest first and each age once, found"):
        Upsampling(recency=(Recency(years=10, factor=1), Recency(years=5, factor=1)))
    with pytest.raises(ValidationError, match=r"could be read \d+ times; at most 20\.\d here"):
        Upsampling(fold=30)
    highest = Upsampling(publication_types={}, recency=(), fold=127)
    assert upsampling.counts(np.array([2.0]), highest.fold, np.zeros(1, np.uint64), 0).tolist() == [255]


def test_quartiles_of_citations():
    known = np.array([np.nan, 1, 2, 3, 4, 5, np.nan], np.float32)
    assert upsampling.thresholds(known) == (2.0, 4.0)
    worth = upsampling.of_citations(known, (2.0, 4.0), Citations(top=1, middle=0.5, bottom=0.25))
    assert worth.tolist() == [0, 0.25, 0.25, 0.5, 0.5, 1, 0]
    assert upsampling.thresholds(np.array([np.nan], np.float32)) == (0.0, 0.0)


def keys(count):
    return np.array([identify.key(f"pmid:{i}") for i in range(count)], np.uint64)


def test_counts_are_rounded_by_hash():
    many = keys(20_000)
    for worth, fold in ((0.0, 1), (0.3, 1), (1.0, 1), (1.5, 1), (1.5, 0.5), (2.2, 3)):
        counts = upsampling.counts(np.full(many.size, worth), fold, many, 0)
        exact = 1 + worth * fold
        assert set(counts.tolist()) <= {math.floor(exact), math.ceil(exact)}
        # The standard deviation of the mean of 20,000 draws is at most 0.0036
        assert counts.mean() == pytest.approx(exact, abs=0.011)
        assert (counts[:10] == upsampling.counts(np.full(10, worth), fold, many[:10], 0)).all()
    one, other = (upsampling.counts(np.full(many.size, 0.5), 1, many, seed) for seed in (0, 1))
    assert (one != other).mean() == pytest.approx(0.5, abs=0.02)


def index_of(folder, rows):
    """The index of documents given as (factor, citations, excluded)."""
    frame = pl.DataFrame(rows, schema=upsampling.COLUMNS, orient="row")
    frame.write_parquet(folder / INDEX)
    return Index([folder / INDEX])


def decided(folder, rows, labels=None, papers=None, settings=APPROVED):
    labels = np.arange(len(rows), dtype=np.int32) if labels is None else np.array(labels, np.int32)
    papers = np.ones(len(rows), bool) if papers is None else np.array(papers)
    index = index_of(folder, rows)
    excluded, counts = upsampling.decided(index, settings, papers, labels, keys(len(rows)), seed=0)
    return excluded.cast(pl.String).to_list(), counts.tolist()


def test_citations_count_only_for_papers_with_a_factor(tmp_path):
    rows = [(1.0, 1.0, None), (1.0, 2.0, None), (1.0, 3.0, None), (1.0, 9.0, None), (0.0, 100.0, None), (1, None, None)]
    whole = Upsampling(citations=Citations(top=3, middle=2, bottom=1))  # quartiles 2 and 9
    excluded, counts = decided(tmp_path, rows, settings=whole)
    assert excluded == [None] * 6
    assert counts == [3, 3, 4, 4, 1, 2]


def test_what_one_document_of_a_work_knows_holds_for_the_work(tmp_path):
    whole = Upsampling(citations=Citations(top=3, middle=2, bottom=1))
    rows = [(0.0, None, None), (2.0, 5.0, None), (0.0, 7.0, 4), (0.0, None, None), (0.0, None, 2)]
    excluded, counts = decided(
        tmp_path, rows, labels=[0, 0, 1, 1, 2], papers=[True, False, False, True, True], settings=whole
    )
    # The paper 0 has the factor of its abstract 1; 3 is about animals, as its abstract 2 says
    assert excluded == [None, None, None, "excluded_animals", "excluded_preprint"]
    assert counts == [1 + 2 + 1, 1, 1, 1, 1]


def test_excluded_papers_can_stay_and_are_read_once(tmp_path):
    rows = [(2.0, None, None), (2.0, None, 0)]
    assert decided(tmp_path, rows) == ([None, "excluded_retracted_publication"], [3, 1])
    assert decided(tmp_path, rows, settings=Upsampling(exclude=False)) == ([None, None], [3, 1])


def test_no_documents_are_decided(tmp_path):
    assert decided(tmp_path, []) == ([], [])


TYPES = ["Review", "Meta-Analysis", "Clinical Trial, Phase I", "Preprint", "Journal Article"]
papers = st.fixed_dictionaries(
    {
        "published": st.sampled_from([None, "2022", "2017-12", "2014-02-28", "1990-01-01"]),
        "venue": st.sampled_from(["", "bmj", "BMJ Open"]),
        "citations": st.none() | st.integers(0, 20),
        "publication_types": st.lists(st.sampled_from(TYPES), max_size=3, unique=True).map(tuple),
        "mesh": st.sampled_from([(), ("Humans",), ("Animals", "Humans")]),
    }
)


def plainly_decided(fields):
    """Reason and exact count of each paper, one work each."""
    excluded, worths, per_year = [], [], []
    for paper in fields:
        types = paper["publication_types"]
        reason = (
            "excluded_preprint" if "Preprint" in types else "excluded_animals" if "Animals" in paper["mesh"] else None
        )
        worth = sum(APPROVED.publication_types.get(name, 0) for name in types) + (paper["venue"] == "bmj")
        rate = None
        if paper["published"] is None:
            worth = 0
        else:
            year, month, day = map(int, (paper["published"] + "-01-01").split("-")[:3])
            age = (date(2023, 7, 15) - date(year, month, day)).days
            if worth:
                worth += 1.0 if age <= 5.5 * 365 else 0.2 if age <= 10 * 365 else 0
            if paper["citations"] is not None:
                rate = paper["citations"] / (age // 365 + 1)
        excluded.append(reason)
        worths.append(worth)
        per_year.append(None if rate is None else float(np.float32(rate)))
    known = [rate for rate in per_year if rate is not None]
    quartiles = statistics.quantiles(known * 2 if len(known) == 1 else known, n=4, method="inclusive") if known else []
    exact = []
    for reason, worth, rate in zip(excluded, worths, per_year, strict=True):
        earned = 0.0 if rate is None else 1.0 if rate > quartiles[2] else 0.5 if rate > quartiles[0] else 0.0
        # Round what binary fractions add up to
        exact.append(round(1 + worth + earned, 6) if worth and reason is None else 1)
    return excluded, exact


@hypothesis_settings(max_examples=60)
@given(fields=st.lists(papers, min_size=1, max_size=8))
def test_decisions_are_those_of_a_plain_program(tmp_path_factory, fields):
    rows = columns(*(Document("", "", **paper) for paper in fields)).rows()
    excluded, counts = decided(tmp_path_factory.mktemp("index"), rows)
    reasons, exact = plainly_decided(fields)
    assert excluded == reasons
    drawn = split.fractions(keys(len(fields)), 0, "upsampling")
    rounded_up = [draw < count % 1 for count, draw in zip(exact, drawn, strict=True)]
    assert counts == [math.floor(count) + more for count, more in zip(exact, rounded_up, strict=True)]
