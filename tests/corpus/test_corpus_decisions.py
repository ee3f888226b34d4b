"""Deduplication, split, mixture and ledger: decisions over all documents."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.corpus import dedup, mixture, split
from components.corpus.ledger import Ledger, LedgerError


def index(*rows):
    """Rows as dicts; missing keys are null."""
    columns = ("group", *dedup.KEYS)
    return pl.DataFrame([{c: row.get(c) for c in columns} for row in rows], schema=dict.fromkeys(columns, pl.String))


def test_a_paper_beats_its_abstract():
    found = dedup.duplicates(
        index(
            {"group": "abstracts", "pmid": "1"},
            {"group": "papers", "pmid": "1"},
            {"group": "abstracts", "pmid": "2"},
        )
    )
    assert found.to_list() == ["duplicate_pmid", None, None]


@pytest.mark.parametrize("key", dedup.KEYS)
def test_each_key(key):
    found = dedup.duplicates(index({"group": "papers", key: "x"}, {"group": "papers", key: "x"}, {"group": "papers"}))
    assert found.to_list() == [None, f"duplicate_{key.removesuffix('_key')}", None]


def test_chains_are_one_work():
    rows = [
        {"group": "abstracts", "doi": "d1"},
        {"group": "abstracts", "pmid": "1", "doi": "d1"},
        {"group": "papers", "pmid": "1", "pmcid": "2"},
        {"group": "papers", "pmcid": "2", "corpusid": "3"},
        {"group": "replay", "corpusid": "3"},
    ]
    found = dedup.duplicates(index(*rows)).to_list()
    assert found == ["duplicate_doi", "duplicate_pmid", None, "duplicate_pmcid", "duplicate_corpusid"]


def test_documents_without_keys_are_not_duplicates():
    assert dedup.duplicates(index({"group": "papers"}, {"group": "papers"})).to_list() == [None, None]
    assert dedup.duplicates(index()).to_list() == []


ids = st.none() | st.sampled_from("abc")
rows = st.lists(
    st.fixed_dictionaries({"group": st.sampled_from(dedup.PREFERENCE), **dict.fromkeys(dedup.KEYS, ids)}), max_size=12
)


@given(rows=rows)
def test_dedup_keeps_the_best_of_each_connected_work(rows):
    works = list(range(len(rows)))  # naive union-find by relabelling

    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            if any(a[key] is not None and a[key] == b[key] for key in dedup.KEYS):
                works = [works[i] if work == works[j] else work for work in works]
    found = dedup.duplicates(index(*rows)).to_list()
    for work in set(works):
        members = [i for i in range(len(rows)) if works[i] == work]
        best = min(members, key=lambda i: (dedup.PREFERENCE.index(rows[i]["group"]), i))
        assert [i for i in members if found[i] is None] == [best]


def test_fractions_are_stable_spread_and_independent():
    ids = pl.Series([f"pmid:{i}" for i in range(20_000)])
    first = split.fractions(ids, 0, "split")
    assert first[:3].to_list() == split.fractions(ids[:3], 0, "split").to_list()
    # Pinned: a change here moves documents between training and validation of every corpus ever made
    assert split.fractions(pl.Series(["pmid:1"]), 0, "split")[0] == pytest.approx(0.8454282918045769, abs=1e-15)
    assert abs((first < 0.03).mean() - 0.03) < 0.004
    assert (
        abs(pl.DataFrame({"a": first, "b": split.fractions(ids, 0, "replay")}).select(pl.corr("a", "b")).item()) < 0.02
    )
    assert (first != split.fractions(ids, 1, "split")).all()


def test_split_does_not_depend_on_order_or_company():
    ids = [f"pmid:{i}" for i in range(500)]
    frame = pl.DataFrame({"id": ids, "source": ["a"] * 500})
    whole = dict(zip(ids, split.assigned(frame, {"a": 0.1}, 3), strict=True))
    part = frame.sample(100, shuffle=True, seed=1)
    assert split.assigned(part, {"a": 0.1}, 3).to_list() == [whole[id_] for id_ in part["id"]]
    assert 20 < sum(value == "validation" for value in whole.values()) < 80
    assert set(split.assigned(frame, {"a": 0.0}, 3)) == {"train"}


def mixed(replay, papers, share, seed=0):
    frame = pl.DataFrame(
        {
            "id": [f"r{i}" for i in range(len(replay))] + [f"p{i}" for i in range(len(papers))],
            "group": ["replay"] * len(replay) + ["papers"] * len(papers),
            "split": ["train"] * (len(replay) + len(papers)),
            "tokens": [*replay, *papers],
        },
        schema={"id": pl.String, "group": pl.String, "split": pl.String, "tokens": pl.Int64},
    ).with_row_index("row")
    surplus = set(mixture.surplus_rows(frame, share, seed))
    assert all(row < len(replay) for row in surplus)
    return sum(tokens for row, tokens in enumerate(replay) if row not in surplus)


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
