"""Every reader, on records of ours that were damaged at random: it never raises, and every record is accounted for."""

import gzip
import io
import json
import tarfile

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.corpus import sources
from components.corpus.limits import Limits
from components.corpus.sources import FORMATS, Reject
from components.corpus.sources.document import Document
from components.platform.data import SourceFile

# The same examples in every run, and few: there are many readers and many ways to damage a file
fuzz = settings(max_examples=60, derandomize=True, deadline=None)

TEXT = "Introduction\nSee Fig. 1 and (Doe, 2010) on x^2. The dose was 5 mg.\nFigure 1. The dose.\nDoe J. A study. 2010."


def annotations(text=TEXT):
    def span(kind, piece, **attributes):
        start = text.index(piece)
        return kind, json.dumps([{"start": start, "end": start + len(piece), "attributes": attributes}])

    return dict(
        [
            span("sectionheader", "Introduction", n="1"),
            span("figureref", "Fig. 1", ref_id="fig_0"),
            span("bibref", "Doe, 2010", ref_id="b0"),
            span("formula", "x^2"),
            span("figure", "Figure 1. The dose.", id="fig_0"),
            span("figurecaption", "The dose."),
            span("bibentry", "Doe J. A study. 2010.", id="b0"),
            span("bibtitle", "A study"),
        ]
    )


ABSENT = dict.fromkeys(["authorfirstname", "authorlastname", "authoraffiliation", "tableref"])
FULL_TEXT = {
    "corpusid": 7,
    "externalids": {"pubmed": "11", "doi": "10.1000/x"},
    "content": {"text": TEXT, "annotations": {**ABSENT, **annotations()}, "source": {"oainfo": {"license": "CCBY"}}},
}
GUIDELINE = {"source": "cdc", "title": "Flu", "text": "# Flu\n\nWash your hands.", "copyright": "none"}
ABSTRACT = {"corpusid": 7, "abstract": "We did.", "openaccessinfo": {"externalids": {"DOI": "10.1000/X"}}}
ROWS = {
    "guidelines": [GUIDELINE, {"id": 1, "title": None, "clean_text": "Rest.", "raw_text": "Rest .", "overview": None}],
    "s2orc": [
        FULL_TEXT,
        {"corpusid": 8, "title": "T", "body": {"text": TEXT, "annotations": annotations()}, "openaccessinfo": {}},
    ],
    "abstracts": [ABSTRACT],
    "papers": [
        {"corpusid": 7, "title": "T", "year": 2010, "citationcount": 3, "publicationtypes": ["Review"], "venue": "V"}
    ],
    "redpajama": [{"text": "Q: why?", "meta": {"license": "cc0"}}, {"text": "Q", "meta": '{"url": "x"}'}],
    "meditron-compat": [FULL_TEXT, ABSTRACT, GUIDELINE],
}
CITATION = (
    "<PubmedArticle><MedlineCitation><PMID>1</PMID><Article><Journal><JournalIssue><PubDate><Year>2010</Year>"
    "<Month>Mar</Month></PubDate></JournalIssue><Title>J</Title></Journal><ArticleTitle>T</ArticleTitle><Abstract>"
    '<AbstractText Label="A">We did 10<sup>6</sup> &lt;x&gt;.</AbstractText></Abstract></Article></MedlineCitation>'
    "</PubmedArticle>"
)
ARTICLE = (
    '<article article-type="research-article"><front><article-meta><title-group><article-title>T</article-title>'
    "</title-group><pub-date><day>1</day><month>2</month><year>2010</year></pub-date></article-meta></front><body>"
    '<sec><title>Introduction</title><p>See <xref ref-type="fig" rid="f1">Fig 1</xref> and '
    '[<xref ref-type="bibr" rid="r1">1</xref>].<fig id="f1"><label>Fig 1</label><caption><p>Dose.</p></caption></fig>'
    "</p><disp-formula><math><mfrac><mi>a</mi><mi>b</mi></mfrac></math></disp-formula></sec></body><back><ref-list>"
    '<ref id="r1"><surname>Doe</surname><article-title>A study</article-title></ref></ref-list></back></article>'
)
XML = {
    "pubmed_xml": f"<PubmedArticleSet>{CITATION * 3}<DeleteCitation><PMID>5</PMID></DeleteCitation></PubmedArticleSet>",
    "jats": f"<pmc-articleset>{ARTICLE * 2}</pmc-articleset>",
}

# fmt: off
TAGS = [
    "sec", "title", "p", "fig", "label", "caption", "xref", "list", "list-item", "def-list", "def-item", "term",
    "disp-formula", "inline-formula", "sup", "sub", "table-wrap", "table", "math", "msup", "mfrac", "tex-math",
    "ref", "article", "abstract", "body", "article-title", "pub-date", "year", "month", "AbstractText", "PMID",
    "PubmedArticle", "DeleteCitation", "MedlineCitation", "PubDate", "MedlineDate",
]
# fmt: on

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
spans = st.lists(
    st.fixed_dictionaries(
        {"start": st.integers(-5, len(TEXT) + 20) | anything, "end": st.integers(-5, len(TEXT) + 20) | anything},
        optional={"attributes": st.dictionaries(st.sampled_from(["id", "ref_id", "n"]), anything) | anything},
    )
    | anything,
    max_size=4,
)
marks = st.sampled_from(["\ufdd0", "\ufdd1", "&#xFDD0;", "&alpha;", "&nothing;", "]]>", "\n", "\u2028"])
fragments = st.recursive(
    st.text(st.characters(exclude_characters="<&", exclude_categories=["Cs"]), max_size=6) | marks,
    lambda inner: st.builds(
        lambda tag, content, attribute: f"<{tag}{attribute}>{''.join(content)}</{tag}>",
        st.sampled_from(TAGS),
        st.lists(inner, max_size=3),
        st.sampled_from(["", ' id="f1"', ' ref-type="bibr" rid="r1 r1"', ' ref-type="fig" rid="f1"', ' xmlns="urn:x"']),
    ),
    max_leaves=10,
)


def read(name, content, tmp_path_factory, file_name="x.jsonl"):
    """What a reader gives, after a look at whether each result is what it may be."""
    path = tmp_path_factory.mktemp("fuzz") / file_name
    path.write_bytes(content)
    found = list(sources.read(FORMATS[name], [SourceFile(file_name, str(path), len(content), "")]))
    for result in found:
        if isinstance(result, Reject):
            assert result.reason.isidentifier()
        else:
            origin, document = result
            assert origin.startswith(f"{file_name}:")
            assert isinstance(document, Document)
            assert isinstance(document.text, str)
    return found


def damaged(content, data):
    """The content with some bytes changed, cut out or put in, or with its end cut off."""
    content = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        match data.draw(st.sampled_from(["flip", "insert", "delete", "cut"])):
            case "flip" if place < len(content):
                content[place] ^= data.draw(st.integers(1, 255))
            case "insert":
                content[place:place] = data.draw(st.binary(min_size=1, max_size=8))
            case "delete":
                del content[place : place + data.draw(st.integers(1, 20))]
            case "cut":
                del content[place:]
    return bytes(content)


def changed(value, data):
    """A JSON value with one part, at any depth, replaced by anything or by spans."""
    if isinstance(value, dict) and value and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(value)))
        return {**value, key: changed(value[key], data)}
    return data.draw(anything | spans | spans.map(json.dumps))


def non_blank(content):
    return sum(bool(line.strip()) for line in content.split(b"\n"))


def test_every_reader_is_fuzzed():
    assert {*ROWS, *XML} >= {*FORMATS}


def valid(name):
    return b"\n".join(json.dumps(row).encode() for row in ROWS[name] * 2) if name in ROWS else XML[name].encode()


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_damaged_here_is_read_when_it_is_whole(name, tmp_path_factory):
    rejects = [item.reason for item in read(name, valid(name), tmp_path_factory) if isinstance(item, Reject)]
    assert rejects == (["deleted_citation"] if name == "pubmed_xml" else [])


@pytest.mark.parametrize("name", [name for name in FORMATS if name in ROWS])
class TestLines:
    @fuzz
    @given(data=st.data())
    def test_damaged_bytes(self, name, tmp_path_factory, data):
        content = damaged(valid(name), data)
        assert len(read(name, content, tmp_path_factory)) == non_blank(content)

    @fuzz
    @given(data=st.data())
    def test_values_of_any_type(self, name, tmp_path_factory, data):
        row = changed(data.draw(st.sampled_from(ROWS[name])), data)
        content = json.dumps(row).encode() + b"\n" + valid(name)
        assert len(read(name, content, tmp_path_factory)) == non_blank(content)

    @fuzz
    @given(data=st.data())
    def test_damaged_gzip(self, name, tmp_path_factory, data):
        packed = gzip.compress(valid(name), mtime=0)
        content = damaged(packed, data)
        found = read(name, content, tmp_path_factory, "x.jsonl.gz")
        # It shows, or it did no harm (a change of the time in the header does none)
        unharmed = read(name, packed, tmp_path_factory, "x.jsonl.gz")
        assert found == unharmed or (isinstance(found[-1], Reject) if found else not content)

    @fuzz
    @given(data=st.data())
    def test_truncated_zstd(self, name, tmp_path_factory, data):
        whole = valid(name) + b"\n"
        packed = pa.compress(whole, codec="zstd", asbytes=True)
        cut = data.draw(st.integers(1, len(packed) - 1))
        [*_, last] = read(name, packed[:cut], tmp_path_factory, "x.jsonl.zst")
        assert last.reason == "bad_zstd"


@fuzz
@given(annotated=st.dictionaries(st.sampled_from(sorted(annotations())), spans | spans.map(json.dumps) | anything))
@pytest.mark.parametrize("name", [name for name in ("s2orc", "meditron-compat") if name in FORMATS])
def test_annotations_of_any_kind(name, tmp_path_factory, annotated):
    row = {**FULL_TEXT, "content": {"text": TEXT, "annotations": {**annotations(), **annotated}}}
    assert len(read(name, json.dumps(row).encode(), tmp_path_factory)) == 1


@pytest.mark.parametrize("name", XML)
class TestXml:
    @fuzz
    @given(data=st.data())
    def test_damaged_bytes(self, name, tmp_path_factory, data):
        content = damaged(valid(name), data)
        assert read(name, content, tmp_path_factory, "x.xml") or not content

    @fuzz
    @given(data=st.data(), fragment=fragments)
    def test_elements_anywhere(self, name, tmp_path_factory, data, fragment):
        whole = XML[name]
        places = [place for place, letter in enumerate(whole) if letter in "<>"]
        place = data.draw(st.sampled_from(places)) + data.draw(st.integers(0, 1))
        assert read(name, (whole[:place] + fragment + whole[place:]).encode(), tmp_path_factory, "x.xml")

    @fuzz
    @given(data=st.data())
    def test_damaged_gzip(self, name, tmp_path_factory, data):
        content = damaged(gzip.compress(valid(name), mtime=0), data)
        assert read(name, content, tmp_path_factory, "x.xml.gz") or not content


@fuzz
@given(data=st.data(), compress=st.booleans())
def test_damaged_packages(tmp_path_factory, data, compress):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if compress else "w") as archive:
        for number in range(3):
            header = tarfile.TarInfo(f"{number}.nxml")
            header.size = len(ARTICLE)
            archive.addfile(header, io.BytesIO(ARTICLE.encode()))
    found = read("jats", damaged(buffer.getvalue(), data), tmp_path_factory, "x.tar.gz" if compress else "x.tar")
    assert len(found) == 3 or (isinstance(found[-1], Reject) and len(found) <= 4) or (compress and not found)


@pytest.mark.parametrize("name", FORMATS)
@fuzz
@given(content=st.binary(max_size=200), file_name=st.sampled_from(["x", "x.gz", "x.zst", "x.tar", "x.tgz"]))
def test_bytes_of_any_kind(name, tmp_path_factory, content, file_name):
    found = read(name, content, tmp_path_factory, file_name)
    if name in ROWS and file_name == "x":
        assert len(found) == non_blank(content)


def test_a_record_is_at_most_so_long(tmp_path):
    content = b"x" * 101 + b"\n" + b"y" * 99
    (tmp_path / "x").write_bytes(content)
    file = SourceFile("x", str(tmp_path / "x"), len(content), "")
    found = sources.read(FORMATS["guidelines"], [file], Limits(record_bytes=100))
    assert [item.reason for item in found] == ["line_too_long", "bad_json"]
