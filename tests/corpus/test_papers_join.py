"""Tables of `papers`, and what documents get from them."""

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.corpus import batch, join, papers_table
from components.corpus.join import Join
from components.corpus.sources.document import Document
from components.platform.data import SourceFile


def source(path):
    return SourceFile(path.name, str(path), path.stat().st_size, "sha256:" + "0" * 64)


def written(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows))
    return source(path)


@pytest.fixture
def table(tmp_path):
    """Makes a table of rows of `papers`; returns its path and the metadata."""

    def make(rows, name="papers1", pubmed_only=False):
        folder = tmp_path / f"{name}-table"
        folder.mkdir()
        file = written(tmp_path / f"{name}.jsonl", rows)
        return folder / papers_table.TABLE, papers_table.tabulate(file, pubmed_only, folder)

    return make


def paper(corpusid, title="Title", **fields):
    return {"corpusid": corpusid, "title": title, **fields}


WHOLE = paper(
    7,
    externalids={"PubMed": "12", "PubMedCentral": "34", "DOI": "10.1000/X", "CorpusId": "7"},
    venue="The Lancet",
    publicationdate="2021-03-09",
    year=2021,
    citationcount=5,
    publicationtypes=["Review", "Study", "ClinicalTrial"],
)


def test_rows_of_a_table(table):
    path, metadata = table([WHOLE, paper(2, None, year=1999), paper(1, venue="", journal={"name": "BMJ"})])
    assert metadata == {"records": 3, "rows": 3, "drops": {}}
    frame = pl.read_parquet(path)
    assert dict(frame.schema) == papers_table.SCHEMA
    types = ["Review", "Clinical Trial"]
    assert frame.rows() == [
        (7, "Title", "12", "34", "10.1000/x", "The Lancet", "2021-03-09", 5, types),
        (2, "", None, None, None, "", "1999", None, []),
        (1, "Title", None, None, None, "BMJ", None, None, []),
    ]
    assert (path.parent / papers_table.REJECTS).read_bytes() == b""


def test_records_are_rows_and_drops(table):
    in_pubmed = [paper(1, externalids={"PubMed": 1}), paper(2, externalids={"PubMedCentral": "PMC2"})]
    others = [paper(3), paper(4, externalids={"DOI": "10.1000/x"}), paper(5, externalids={"PubMed": "none"})]
    broken = [b"{", b"[]", {"title": "x"}, paper(6, citationcount="5"), paper(8, publicationtypes="Review")]
    path, metadata = table([*others, *in_pubmed, *broken], pubmed_only=True)
    assert metadata["records"] == 10
    assert metadata["rows"] == 2
    assert metadata["drops"] == {
        "bad_json": 2,
        "missing_field": 1,
        "not_in_pubmed": 3,
        "wrong_type": 2,
    }
    assert pl.read_parquet(path)["corpusid"].to_list() == [1, 2]
    rejects = [json.loads(line) for line in (path.parent / papers_table.REJECTS).read_bytes().splitlines()]
    assert [row["record"] for row in rejects] == [6, 7, 8, 9, 10]
    assert {row["source"] for row in rejects} == {"papers"}


def test_a_table_without_rows_can_be_searched(table):
    path, metadata = table([b"?"])
    assert metadata["rows"] == 0
    assert join.found([path], pl.Series([1, 2]).to_numpy()).height == 0


def test_row_groups_hold_no_more_than_their_number_of_rows(table, monkeypatch):
    monkeypatch.setattr(papers_table, "ROW_GROUP", 3)
    path, metadata = table([paper(i) for i in range(8, 0, -1)])
    assert metadata == {"records": 8, "rows": 8, "drops": {}}
    assert pl.read_parquet(path)["corpusid"].to_list() == list(range(8, 0, -1))
    assert papers_table.pq.ParquetFile(path).num_row_groups == 3


def joined(papers, *documents):
    frame = batch.of_documents([(f"f:{i}", document) for i, document in enumerate(documents)], "s", "papers")
    result, drops = Join(papers)(frame)
    assert drops == {}
    assert result.schema == frame.schema
    assert result["origin"].to_list() == frame["origin"].to_list()
    return result.select(pl.exclude("source", "group", "origin", "text", "licence", "retracted", "mesh")).rows(
        named=True
    )


def test_documents_get_what_they_do_not_say(table):
    papers = join.found([table([WHOLE])[0]], pl.Series([7]).to_numpy())
    known, unknown, without = joined(
        papers, Document("", "a", corpusid="7"), Document("T", "b", corpusid="8"), Document("T", "c")
    )
    types = ["Review", "Clinical Trial"]
    assert known == {
        "title": "Title",
        "pmid": "12",
        "pmcid": "34",
        "doi": "10.1000/x",
        "corpusid": "7",
        "published": "2021-03-09",
        "venue": "The Lancet",
        "citations": 5,
        "publication_types": types,
    }
    nothing = dict.fromkeys(known) | {"title": "T", "venue": "", "publication_types": []}
    assert unknown == nothing | {"corpusid": "8"}
    assert without == nothing


def test_of_what_both_say_the_title_of_papers_counts_and_all_else_of_the_document(table):
    papers = join.found([table([WHOLE, paper(9, "")])[0]], pl.Series([7, 9]).to_numpy())
    own = {
        "pmid": "99",
        "pmcid": "98",
        "doi": "10.1000/own",
        "published": "1999",
        "venue": "Own",
        "citations": 0,
        "publication_types": ("Letter",),
    }
    first, second = joined(papers, Document("Own", "a", corpusid="7", **own), Document("Own", "a", corpusid="9", **own))
    assert first == {"title": "Title", "corpusid": "7"} | own | {"publication_types": ["Letter"]}
    assert second == {"title": "Own", "corpusid": "9"} | own | {"publication_types": ["Letter"]}


def test_of_several_rows_the_first_counts_in_the_order_of_the_tables(table):
    one = table([paper(3, "3 in 1"), paper(1, "1 in 1"), paper(1, "1 in 1 again")], "papers1")[0]
    two = table([paper(1, "1 in 2"), paper(2, "2 in 2")], "papers2")[0]
    ids = pl.Series([1, 2, 4]).to_numpy()
    assert join.found([one, two], ids).select("corpusid", "title").rows() == [("1", "1 in 1"), ("2", "2 in 2")]
    assert join.found([two, one], ids).select("corpusid", "title").rows() == [("1", "1 in 2"), ("2", "2 in 2")]


def test_corpus_ids_of_a_shard(tmp_path):
    lines = [
        {"corpusid": 5, "content": {"text": 'they wrote "corpusid": 999'}},
        b'{ "x": {}, "corpusid" : "0012" }',
        {"corpusid": 5},
        {"corpusid": None, "externalids": {"CorpusId": "77"}},
        b"not JSON",
        {"corpusid": -3},
    ]
    files = [written(tmp_path / "a.jsonl", lines), written(tmp_path / "b.jsonl", [{"corpusid": 3}])]
    assert join.corpusids(files).tolist() == [3, 5, 12]
    assert join.corpusids([]).size == 0


ids = st.integers(1, 6)
titles = st.sampled_from(["", "A", "B"])
tables = st.lists(st.lists(st.tuples(ids, titles, st.none() | st.integers(0, 3)), max_size=6), max_size=3)


@given(tables, st.lists(st.tuples(st.none() | ids, titles, st.none() | st.integers(0, 3)), max_size=6))
def test_joins_are_those_of_a_plain_program(tmp_path_factory, tables, documents):
    folder = tmp_path_factory.mktemp("join")
    paths = []
    known = {}
    for number, rows in enumerate(tables):
        paths.append(folder / str(number) / papers_table.TABLE)
        file = written(folder / str(number) / "papers.jsonl", [paper(i, t, citationcount=c) for i, t, c in rows])
        papers_table.tabulate(file, False, paths[-1].parent)
        for corpusid, title, citations in rows:
            known.setdefault(corpusid, (title, citations))
    shard = written(folder / "shard.jsonl", [{"corpusid": corpusid} for corpusid, _, _ in documents])
    expected = []
    for corpusid, title, citations in documents:
        other, others_citations = known.get(corpusid, ("", None))
        expected.append((other or title, others_citations if citations is None else citations))
    step = Join.of([shard], paths)
    assert set(step.papers["corpusid"]) == {str(corpusid) for corpusid, _, _ in documents} & {str(i) for i in known}
    rows = joined(
        step.papers,
        *(
            Document(title, "x", corpusid=None if corpusid is None else str(corpusid), citations=citations)
            for corpusid, title, citations in documents
        ),
    )
    assert [(row["title"], row["citations"]) for row in rows] == expected


def test_the_samples_of_semantic_scholar(real_data, tmp_path):
    path = real_data / "s2orc" / "papers-sample.jsonl"
    file = source(path)
    metadata = papers_table.tabulate(file, False, tmp_path)
    assert metadata == {"records": 100, "rows": 100, "drops": {}}
    only = papers_table.tabulate(file, True, tmp_path)
    lines = [json.loads(line)["externalids"] for line in path.read_bytes().splitlines()]
    assert only["rows"] == sum(1 for ids in lines if ids["PubMed"] or ids["PubMedCentral"])
    assert only["rows"] + only["drops"]["not_in_pubmed"] == 100
