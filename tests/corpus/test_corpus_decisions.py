"""Deduplication, split, mixture and ledger: decisions over all documents."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.corpus import dedup, identify, mixture, split
from components.corpus.ledger import Ledger, LedgerError


def duplicates(*rows):
    """Why each of some documents is left out, None where it stays; rows as dicts, missing keys are null."""
    works = dedup.Works(len(rows))
    for name in identify.KEYS:
        having = [i for i, row in enumerate(rows) if row.get(name) is not None]
        values = [identify.key(rows[i][name]) for i in having]
        works.add(f"duplicate_{name}", np.array(values, np.uint64), np.array(having, np.int64))
    groups = np.array([dedup.PREFERENCE.index(row["group"]) for row in rows], np.int8)
    latest = np.array([row.get("latest_first", False) for row in rows], bool)
    stays = dedup.chosen(works.labels(), dedup.ranks(groups, latest, last=np.zeros_like(latest)))
    return [None if stay else works.keys[code - 1] for stay, code in zip(stays, works.shared, strict=True)]


def test_a_paper_beats_its_abstract():
    found = duplicates(
        {"group": "abstracts", "pmid": "1"}, {"group": "papers", "pmid": "1"}, {"group": "abstracts", "pmid": "2"}
    )
    assert found == ["duplicate_pmid", None, None]


@pytest.mark.parametrize("key", identify.KEYS)
def test_each_key(key):
    found = duplicates({"group": "papers", key: "x"}, {"group": "papers", key: "x"}, {"group": "papers"})
    assert found == [None, f"duplicate_{key}", None]


def test_the_newest_revision_of_a_citation_stays():
    rows = [{"group": "abstracts", "pmid": "1", "latest_first": True} for _ in range(3)]
    assert duplicates(*rows) == ["duplicate_pmid", "duplicate_pmid", None]
    assert duplicates(*rows, {"group": "abstracts", "pmid": "1"})[2:] == [None, "duplicate_pmid"]
    assert duplicates(*rows, {"group": "papers", "pmid": "1"})[3] is None


def test_chains_are_one_work():
    found = duplicates(
        {"group": "abstracts", "doi": "d1"},
        {"group": "abstracts", "pmid": "1", "doi": "d1"},
        {"group": "papers", "pmid": "1", "pmcid": "2"},
        {"group": "papers", "pmcid": "2", "corpusid": "3"},
        {"group": "replay", "corpusid": "3"},
    )
    assert found == ["duplicate_doi", "duplicate_pmid", None, "duplicate_pmcid", "duplicate_corpusid"]


def test_documents_without_keys_are_not_duplicates():
    assert duplicates({"group": "papers"}, {"group": "papers"}) == [None, None]
    assert duplicates() == []


ids = st.none() | st.sampled_from("abc")
rows = st.lists(
    st.fixed_dictionaries({"group": st.sampled_from(dedup.PREFERENCE), **dict.fromkeys(identify.KEYS, ids)}),
    max_size=12,
)


@given(rows=rows)
def test_dedup_keeps_the_best_of_each_connected_work(rows):
    works = list(range(len(rows)))  # naive union-find by relabelling
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            if any(a[key] is not None and a[key] == b[key] for key in identify.KEYS):
                works = [works[i] if work == works[j] else work for work in works]
    found = duplicates(*rows)
    for work in set(works):
        members = [i for i in range(len(rows)) if works[i] == work]
        best = min(members, key=lambda i: (dedup.PREFERENCE.index(rows[i]["group"]), i))
        assert [i for i in members if found[i] is None] == [best]


def keys(*ids):
    return np.array([identify.key(id_) for id_ in ids], np.uint64)


def test_fractions_are_stable_spread_and_independent():
    many = keys(*(f"pmid:{i}" for i in range(20_000)))
    first = split.fractions(many, 0, "split")
    assert (first[:3] == split.fractions(many[:3], 0, "split")).all()
    # Pinned: a change here moves documents between training and validation of every corpus ever made
    assert split.fractions(keys("pmid:1"), 0, "split")[0] == pytest.approx(0.8718230364132753, abs=1e-15)
    assert abs((first < 0.03).mean() - 0.03) < 0.004
    assert abs(np.histogram(first, 50, (0, 1))[0] - 400).max() < 100
    assert abs(np.corrcoef(first, split.fractions(many, 0, "replay"))[0, 1]) < 0.02
    assert (first != split.fractions(many, 1, "split")).all()
    extremes = split.fractions(np.array([0, 2**64 - 1], np.uint64), 0, "split")
    assert (extremes >= 0).all()
    assert (extremes < 1).all()


def test_a_sample_does_not_depend_on_order():
    many, sizes = keys(*(f"pmid:{i}" for i in range(500))), np.arange(500) % 7
    drawn = split.sample(many, sizes, 100, 3, "test")
    assert 95 <= sizes[drawn].sum() <= 106
    order = np.random.default_rng(1).permutation(500)
    assert set(order[split.sample(many[order], sizes[order], 100, 3, "test")]) == set(drawn)


def mixed(replay, papers, share, seed=0):
    """Tokens of the replay documents that are kept."""
    tokens = np.array(replay, np.int64)
    return int(tokens[mixture.replayed(keys(*map(str, range(len(replay)))), tokens, sum(papers), share, seed)].sum())


def test_replay_is_a_share_of_tokens_not_of_documents():
    replayed = mixed([10 + i % 90 for i in range(5000)], [1000] * 990, 0.01)
    assert replayed / (replayed + 990_000) == pytest.approx(0.01, abs=0.0001)
    assert mixed([100] * 5, [1000] * 1000, 0.01) == 500  # all of it, where there is too little
    assert mixed([100] * 5, [1000], 0.0) == 0
    assert mixed([100_000], [1000], 0.01) == 100_000  # at least one document
    assert mixed([100] * 3, [], 0.01) == 300  # nothing to mix with
    assert mixed([], [5], 0.01) == 0


@given(
    replay=st.lists(st.integers(1, 100), min_size=1, max_size=40),
    total=st.integers(1, 5000),
    share=st.floats(0.01, 0.9),
)
def test_replay_is_as_close_to_its_share_as_whole_documents_allow(replay, total, share):
    target = total * share / (1 - share)
    replayed = mixed(replay, [total], share)
    assert replayed <= target + max(replay)
    assert replayed >= min(sum(replay), target - max(replay))


def test_weights():
    assert mixture.weights({"papers": 300, "replay": 100}) == {"papers": 0.75, "replay": 0.25}
    assert mixture.weights({"papers": 0}) == {}


def test_ledger_adds_up():
    ledger = Ledger()
    ledger.add("a", "read", 6, 4, {"bad_json": 2})
    ledger.add("a", "read", 4, 4, {})
    ledger.add("a", "filter", 8, 5, {"too_short": 3})
    ledger.check({"a": 5})
    assert ledger.rows() == [
        {"source": "a", "step": "read", "rows_in": 10, "rows_out": 8, "drops": {"bad_json": 2}},
        {"source": "a", "step": "filter", "rows_in": 8, "rows_out": 5, "drops": {"too_short": 3}},
    ]
    again = Ledger()
    again.extend(ledger.rows())
    assert again.rows() == ledger.rows()
    assert ledger.drops("a") == {"bad_json": 2, "too_short": 3}


def test_ledger_refuses_what_does_not_add_up():
    ledger = Ledger()
    with pytest.raises(LedgerError, match="a, read: 5 rows in, 4 out"):
        ledger.add("a", "read", 5, 4, {})
    with pytest.raises(LedgerError):
        ledger.add("a", "read", 1, 2, {"made": -1})
    ledger.add("a", "read", 5, 5, {})
    ledger.add("a", "filter", 4, 4, {})
    with pytest.raises(LedgerError, match="read gave 5 rows, but filter got 4"):
        ledger.check({"a": 4})
    with pytest.raises(LedgerError, match="gave 4 rows, but 3 were written|gave 5 rows"):
        ledger.check({"a": 3})


steps = st.lists(st.dictionaries(st.sampled_from("xyz"), st.integers(0, 5), max_size=3), min_size=1, max_size=5)


@given(steps=steps, lost=st.integers(0, 3), where=st.integers(0, 5))
def test_any_row_lost_anywhere_is_found(steps, lost, where):
    ledger, rows = Ledger(), 100
    for i, drops in enumerate(steps):
        rows -= lost if i == where else 0
        out = rows - sum(drops.values())
        ledger.add("a", f"step{i}", rows, out, drops)
        rows = out
    written = rows - (lost if where >= len(steps) else 0)
    if lost and where != 0:
        with pytest.raises(LedgerError):
            ledger.check({"a": written})
    else:
        ledger.check({"a": written})
