"""Semantic Scholar's full text: spans, and how they are written."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.corpus.sources import files, s2orc
from components.corpus.sources.document import RejectedError
from components.corpus.spans import merge, union
from components.platform.data import SourceFile


def record(pieces, **more):
    """A record from (kind or None, text, attributes) pieces, whose spans are laid out one after the other."""
    text, annotations = "", {}
    for kind, piece, attributes in pieces:
        if kind:
            span = {"start": len(text), "end": len(text) + len(piece)}
            annotations.setdefault(kind, []).append(span | ({"attributes": attributes} if attributes else {}))
        text += piece
    encoded = {kind: json.dumps(spans) for kind, spans in annotations.items()}
    row = {"corpusid": 1, "externalids": {"pubmed": "5"}, "content": {"text": text, "annotations": encoded}}
    return json.dumps(row | more).encode()


def formatted(pieces, readable):
    return readable(s2orc.parse(record(pieces)).text)


def test_text_before_the_first_heading_and_after_the_first_figure_is_kept(readable):
    pieces = [
        (None, "Before any heading.\n", None),
        ("sectionheader", "METHODS", None),
        (None, "\nWe measured p < 0.05 and [18F]FDG.\n", None),
        ("figure", "Figure 1: x\n", {"id": "fig_0"}),
        (None, "After the figure.", None),
    ]
    assert formatted(pieces, readable) == (
        "Before any heading.\n\n# Methods\nWe measured p < 0.05 and [18F]FDG.\n[fig]Figure 1: x[/fig]\n"
        "After the figure."
    )


def test_front_matter_goes_where_paragraphs_are_annotated(readable):
    pieces = [
        ("title", "A title", None),
        (None, "\nJournal 5, 2018\n", None),
        ("author", "Jane Doe, Dept.\n", None),
        ("abstract", "The abstract.", None),
        (None, "\n", None),
        ("paragraph", "A paragraph.", None),
        (None, "\nNot annotated, but text.", None),
    ]
    assert formatted(pieces, readable) == "The abstract.\nA paragraph.\nNot annotated, but text."


def test_headings(readable):
    pieces = [
        ("sectionheader", "INTRODUCTION", None),
        (None, "\na\n", None),
        ("sectionheader", "CASE REPORT", None),
        (None, "\nb\n", None),
        ("sectionheader", "MRI in the follow-up of results after surgery", None),
        (None, "\nc\n", None),
    ]
    assert formatted(pieces, readable) == (
        "# Introduction\na\n\n## Case report\nb\n\n## MRI in the follow-up of results after surgery\nc"
    )


def bibliography(title="A very good study", author="Doe"):
    return [
        (None, "\n", None),
        ("bibentry", title + " " + author, {"id": "b0"}),
    ]


def reference(text, ref, readable, kind="bibref", around=("see ", " there.")):
    """The text with one reference to a work with a title and an author, or to a figure with a caption."""
    body = around[0] + text + around[1]
    title, author, name, caption = (
        "\nA very good study of it all",
        "Doe",
        "\nFig. 1 .\n",
        "The effect. More words here.",
    )
    full = body + title + author + name + caption
    at = {
        kind: [(len(around[0]), len(around[0]) + len(text), {"ref_id": ref} if ref else None)],
        "bibentry": [(len(body), len(body + title + author), {"id": "b0"})],
        "bibtitle": [(len(body) + 1, len(body + title), None)],
        "bibauthorlastname": [(len(body + title), len(body + title + author), None)],
        "figure": [(len(body + title + author), len(full), {"id": "fig_0"})],
        "figurecaption": [(len(body + title + author + name), len(full), None)],
    }
    annotations = {
        k: json.dumps([{"start": s, "end": e} | ({"attributes": a} if a else {}) for s, e, a in spans])
        for k, spans in at.items()
    }
    row = {"content": {"text": full, "annotations": annotations}}
    return readable(s2orc.parse(json.dumps(row).encode()).text).split("\n")[0]


@pytest.mark.parametrize(
    ("text", "around", "expected"),
    [
        ("1", ("see ", " there."), "see [bib_ref]A very good study of it all, Doe[/bib_ref] there."),
        ("1", ("see (", ") there."), "see [bib_ref]A very good study of it all, Doe[/bib_ref] there."),
        ("(1", ("see ", " ) there."), "see [bib_ref]A very good study of it all, Doe[/bib_ref] there."),
        ("1", ("see [", "] there."), "see [bib_ref]A very good study of it all, Doe[/bib_ref] there."),
        ("1", ("(see ", ") there."), "(see [bib_ref]A very good study of it all, Doe[/bib_ref] ) there."),
        ("1", ("(TTF) ", " there."), "(TTF) [bib_ref]A very good study of it all, Doe[/bib_ref] there."),
    ],
)
def test_references_to_literature(text, around, expected, readable):
    assert reference(text, "b0", readable, around=around) == expected


def test_unresolved_references_do_not_glue_words(readable):
    assert reference("12", None, readable, around=("common.", "CMN can")) == "common. CMN can"
    assert reference("12", "b9", readable, around=("common.", "CMN can")) == "common. CMN can"
    assert "Smith et al., 2010" in reference("(Smith et al., 2010)", None, readable)


def test_references_to_figures(readable):
    for kind in ("figureref", "tableref"):
        assert reference("Figure 1", "fig_0", readable, kind) == "see [fig_ref]Fig. 1: The effect[/fig_ref] there."
    assert reference("Figure 4", None, readable, "figureref") == "see Figure 4 there."


def test_tables_keep_the_caption_and_drop_the_body(readable):
    text = "\nTable 1 .\nThe numbers.\na b c 1 2 3"
    spans = {
        "figure": [{"start": 0, "end": len(text), "attributes": {"id": "tab_0"}}],
        "figurecaption": [{"start": 11, "end": 23}],
        "table": [{"start": 24, "end": len(text)}],
    }
    row = {"content": {"text": text, "annotations": {k: json.dumps(v) for k, v in spans.items()}}}
    assert readable(s2orc.parse(json.dumps(row).encode()).text) == "[table]Table 1: The numbers.[/table]"


def test_tables_without_a_caption_keep_their_name_only(readable):
    text = "\nTable 1 .\na b c 1 2 3\nText."
    spans = {
        "figure": [{"start": 0, "end": 22, "attributes": {"id": "tab_0"}}],
        "table": [{"start": 11, "end": 22}],
    }
    row = {"content": {"text": text, "annotations": spans}}
    assert readable(s2orc.parse(json.dumps(row).encode()).text) == "[table]Table 1 .[/table]\nText."


def test_acknowledgements_references_and_authors_are_dropped(readable):
    pieces = [
        (None, "Text.\n", None),
        ("formula", "E = mc2", None),
        (None, "\nMore • point.\n", None),
        ("sectionheader", "ACKNOWLEDGEMENTS", None),
        (None, "\nThanks to all.\n", None),
        ("sectionheader", "Conclusion", None),
        (None, "\nDone.\n", None),
        ("sectionheader", "References", None),
        (None, "\n1. Someone. Something.\n", None),
        ("bibentry", "Another entry", {"id": "b0"}),
        ("figure", "\nFigure 2 caption", {"id": "fig_1"}),
    ]
    assert formatted(pieces, readable) == (
        "Text.\n[formula]E = mc2[/formula]\nMore - point.\n\n# Conclusion\nDone.\n[fig]Figure 2 caption[/fig]"
    )


def test_characters_we_mark_with_cannot_come_from_outside(readable):
    text = s2orc.parse(record([(None, "a\ufdd0b", None)])).text
    assert text == "a\ufffdb"


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        ({"bibref": "not json"}, "bad_annotation"),
        ({"bibref": "{}"}, None),
        ({"bibref": "[1]"}, "bad_annotation"),
        ({"bibref": '[{"start": 1}]'}, "bad_annotation"),
        ({"bibref": '[{"start": "x", "end": 2}]'}, "bad_annotation"),
        ({"bibref": '[{"start": "1", "end": "2"}]'}, None),
        ({"bibref": '[{"start": 1, "end": 2, "attributes": 5}]'}, "bad_annotation"),
        ({"bibref": '[{"start": 1, "end": 99}]'}, "span_outside_text"),
        ({"bibref": '[{"start": -1, "end": 2}]'}, "span_outside_text"),
        ({"bibref": '[{"start": 3, "end": 2}]'}, "span_outside_text"),
        ({"bibref": 5}, "bad_annotation"),
        ({"bibref": None}, None),
        ([], "wrong_type"),
        (None, None),
    ],
)
def test_bad_annotations(annotations, reason):
    payload = json.dumps({"content": {"text": "some text", "annotations": annotations}}).encode()
    if reason is None:
        assert s2orc.parse(payload).text
    else:
        with pytest.raises(RejectedError, match=reason):
            s2orc.parse(payload)


def test_nothing_but_front_matter_is_no_text():
    pieces = [("author", "Jane Doe", None)]
    with pytest.raises(RejectedError, match="empty_text"):
        s2orc.parse(record(pieces))


spans = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 4)).map(
        lambda s: (min(s[:2]), max(s[:2]), s[2], f"kind{s[2]}")
    ),
    max_size=12,
)


@given(spans=spans, length=st.just(30))
def test_merge_agrees_with_painting_each_character(spans, length):
    painted = [None] * length
    for span in sorted(spans, key=lambda span: (span[2], span[0])):  # by rank, then start, then the order given
        start, end, *_ = span
        painted[start:end] = [span] * (end - start)
    pieces = list(merge(spans, length))
    assert [span for start, end, span in pieces for _ in range(start, end)] == painted
    assert [start for start, _, _ in pieces[1:]] == [end for _, end, _ in pieces[:-1]]
    assert all(a[2] is not b[2] for a, b in pairwise(pieces))


def test_merge_of_an_empty_text():
    assert list(merge([], 0)) == []


stretches = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda s: (min(s), max(s))), max_size=12)


@given(stretches=stretches)
def test_union_agrees_with_painting_each_character(stretches):
    pieces = list(union(stretches))
    covered = {place for start, end in stretches for place in range(start, end)}
    assert [place for start, end in pieces for place in range(start, end)] == sorted(covered)
    assert all(start < end for start, end in pieces)
    assert all(end < start for (_, end), (start, _) in pairwise(pieces))


def test_real_records(real_data, readable):
    file = SourceFile("s2orc_ccby.jsonl", str(real_data / "s2orc" / "s2orc_ccby.jsonl"), 0, "")
    parsed = [s2orc.parse(payload) for _, payload in files.lines(file)]
    erratum, case = (readable(document.text) for document in parsed)
    assert [(d.pmid, d.pmcid, d.doi, d.licence) for d in parsed] == [
        ("36793855", "9925312", "10.7150/thno.79069", "cc-by"),
        ("37203959", "10231538", "10.31729/jnma.7979", "unknown"),
    ]
    # Meditron's own script loses this paragraph, for it stands before the first heading
    assert erratum.startswith("We regret that the original version of our paper")
    assert erratum.count("[fig]") == 2
    assert "Zhikui" not in erratum
    assert "\n\n# Introduction\nWilm's tumour accounts for" in case
    assert "[bib_ref]Congenital mesoblastic nephroma: case study, Kimani[/bib_ref]" in case
    assert "fascicles of tumour cells (Figure 2)." in " ".join(case.split()).replace("( ", "(")
    assert "Fetal Diagn Ther" not in case
