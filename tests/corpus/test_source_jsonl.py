"""Guidelines, RedPajama, and Semantic Scholar's abstracts and papers."""

import gzip
import json

import pytest

from components.corpus.sources import abstracts, files, guidelines, papers, redpajama
from components.corpus.sources.document import Document, RejectedError
from components.platform.data import SourceFile


def line(**row):
    return json.dumps(row).encode()


def test_guideline():
    document = guidelines.parse(
        line(source="cdc", title="T", text="# A\n\nb", copyright="No copyright restrictions apply.")
    )
    assert document == Document("T", "# A\n\nb", "public-domain")


def test_guideline_in_meditrons_release_has_clean_text():
    assert guidelines.parse(line(clean_text="b", title=None)).text == "b"
    assert guidelines.parse(line(text="raw", clean_text="b")).text == "raw"


def test_guideline_as_it_is_published():
    row = {"id": "a1", "source": "who", "title": "T", "clean_text": "# A\n\nb", "raw_text": "A  b"}
    row |= {"url": "https://example.org", "overview": None}
    assert guidelines.parse(line(**row)) == Document("T", "# A\n\nb")
    with pytest.raises(RejectedError, match="clean_text"):
        guidelines.parse(line(**row | {"clean_text": None}))


def test_redpajama():
    assert redpajama.parse(line(text="Q: why?", meta={"license": "CC BY-SA 4.0"})) == Document(
        "", "Q: why?", "cc-by-sa"
    )
    assert redpajama.parse(line(text="Q", meta='{"license": "cc0"}')).licence == "cc0"
    assert redpajama.parse(line(text="Q", meta="{'python': 1}")).licence == "unknown"
    with pytest.raises(RejectedError, match="wrong_type"):
        redpajama.parse(line(text="Q", meta=[1]))


def test_abstract():
    document = abstracts.parse(
        line(
            corpusid=7,
            abstract="We did.",
            openaccessinfo={"externalids": {"DOI": "10.1000/X", "PubMedCentral": "12"}, "license": "CCBY"},
        )
    )
    assert document == Document("", "We did.", "cc-by", pmcid="12", doi="10.1000/x", corpusid="7")


@pytest.mark.parametrize("row", [{"corpusid": 7}, {"corpusid": 7, "abstract": None}, {"corpusid": 7, "abstract": " "}])
def test_abstract_without_text(row):
    with pytest.raises(RejectedError, match="missing_field|empty_text"):
        abstracts.parse(line(**row))


def test_papers_give_titles_and_identifiers():
    row = papers.parse(line(corpusid=7, title="T", externalids={"PubMed": "11", "DOI": None, "CorpusId": "7"}))
    assert (row.title, row.pmid, row.doi, row.corpusid) == ("T", "11", None, "7")
    with pytest.raises(RejectedError, match="corpusid"):
        papers.parse(line(title="T"))


@pytest.mark.parametrize(
    ("name", "reader", "documents"),
    [
        ("guidelines/guidelines.jsonl", guidelines, 43),
        ("s2orc/abstracts-sample.jsonl.gz", abstracts, 100),
        ("s2orc/papers-sample.jsonl", papers, 100),
        ("redpajama/stack_exchange.jsonl", redpajama, 70),
        ("redpajama/the-pile-nih-refined.jsonl", redpajama, 10),
    ],
)
def test_real_files(real_data, name, reader, documents):
    path = real_data / name
    opened = gzip.open if name.endswith(".gz") else open
    with opened(path, "rb") as file:
        rows = [json.loads(row) for row in file]
    parsed = [reader.parse(payload) for _, payload in files.lines(SourceFile(name, str(path), 0, ""))]
    assert len(parsed) == len(rows) == documents
    for row, document in zip(rows, parsed, strict=True):
        assert document.text == row.get("text", row.get("abstract", ""))
        assert document.title == (row.get("title") or "")
