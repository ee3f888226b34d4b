"""Meditron's own formatting: its golden files, and each of its faults."""

import json
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.corpus import batch
from components.corpus.sources import compat, files
from components.corpus.sources.compat import guideline, titles
from components.corpus.sources.compat.labels import PAINTED
from components.corpus.sources.document import Document, RejectedError
from components.platform.data import SourceFile


def golden(folder, name, golden_name, key):
    """Pairs of what we make of each record and what Meditron's scripts made of it."""
    source = folder / name
    parsed = [compat.parse(line) for _, line in files.lines(SourceFile(source.name, str(source), 0, ""))]
    expected = [json.loads(line)[key] for line in (folder / golden_name).read_text().splitlines()]
    return list(zip(parsed, expected, strict=True))


def test_full_text_equals_the_golden_file(real_data):
    pairs = golden(real_data / "s2orc", "s2orc_ccby.jsonl", "s2orc_ccby.meditron_golden.jsonl", "text")
    assert len(pairs) == 2
    for document, expected in pairs:
        assert document.text == expected
    assert [(d.pmid, d.corpusid, d.licence) for d, _ in pairs] == [
        ("36793855", "256867980", "cc-by"),
        ("37203959", "257292514", "unknown"),
    ]


def test_guidelines_equal_the_golden_file(real_data):
    pairs = golden(real_data / "guidelines", "guidelines.jsonl", "guidelines.meditron_clean_golden.jsonl", "clean")
    assert len(pairs) == 43
    for document, expected in pairs:
        assert (document.title, document.text) == ("", expected)


def annotated(pieces, **more):
    """A text and its annotations from (text, kind or kinds, attributes) pieces, laid out one after the other."""
    text, spans = "", {kind: [] for kind in (*PAINTED, "bibtitle", "bibauthorlastname", "figurecaption", "abstract")}
    for piece, kinds, attributes in pieces:
        span = {"start": len(text), "end": len(text) + len(piece)}
        for kind in filter(None, kinds.split()):
            spans[kind].append(span | ({"attributes": attributes} if attributes else {}))
        text += piece
    annotations = {kind: json.dumps(of_kind) if of_kind else None for kind, of_kind in (spans | more).items()}
    return {"text": text, "annotations": annotations}


def formatted(pieces, **more):
    return compat.parse(json.dumps({"content": annotated(pieces, **more)}).encode()).text


HEADING = ("Results", "sectionheader", None)


def bibliography(body, *entries):
    """Pieces of a body, and a bibliography of (id, title, author) entries behind it."""
    pieces, spans, start = list(body), [], sum(len(piece) for piece, _, _ in body)
    for id_, title, author in entries:
        end = start + len(title + author)
        spans.append({"start": start, "end": end, "attributes": {"id": id_}})
        pieces += [(title, "bibtitle", None), (author, "bibauthorlastname", None)]
        start = end
    return formatted(pieces, bibentry=spans)


def test_text_before_the_first_heading_is_lost():
    assert formatted([("Lost. ", "", None), HEADING, ("Kept.", "", None)]) == "\n\n# Results\nKept."


def test_text_before_the_abstract_is_lost_only_where_there_are_headings():
    pieces = [("Journal 5. ", "", None), ("An abstract. ", "abstract", None)]
    assert formatted([*pieces, HEADING]) == "An abstract.\n\n# Results\n"
    assert formatted(pieces) == "Journal 5. An abstract."


def figures(*names, kind="fig"):
    """The spans of figures with the names given, one after the other, each with a caption; and the whole text."""
    text, figure, caption = "Before.", [], []
    for number, name in enumerate(names):
        start, begin = len(text), len(text) + len(name)
        text += name + "What it shows."
        figure.append({"start": start, "end": len(text), "attributes": {"id": f"{kind}_{number}"}})
        caption.append({"start": begin, "end": len(text)})
    return text, {"figure": figure, "figurecaption": caption}


def with_figures(text, spans):
    return formatted([(text, "", None)], **spans)


def test_text_after_the_first_figure_is_lost():
    text, spans = figures("\nFig. 1 .\n")
    assert with_figures(text + "Lost.", spans) == "Before.\n[fig] Figure 1: What it shows. [/fig]\n"


def test_a_figure_whose_name_holds_that_of_another_is_lost():
    text, spans = figures("\nFigure 1 .\n", "\nFigure 11 .\n", "\nFigure 2 .\n")
    assert with_figures(text, spans) == (
        "Before.\n[fig] Figure 1: What it shows. [/fig]\n[fig] Figure 2: What it shows. [/fig]\n"
    )


def test_the_name_of_a_figure_is_its_second_line_whatever_it_is():
    text, spans = figures("Fig. 1 .\n")
    assert with_figures(text, spans) == "Before."  # this figure has one line, which is no name
    text, spans = figures("\nTab. 1 (see:\nelsewhere) .\n", kind="tab")
    assert with_figures(text, spans) == "Before.\n[table] Table 1 see: What it shows. [/table]\n"


def test_continued_figures_are_lost():
    text, spans = figures("\nFigure 1 (continued) .\n")
    assert with_figures(text, spans) == "Before."


def test_a_figure_without_an_id_hides_those_after_it():
    text, spans = figures("\nFigure 1 .\n", "\nFigure 2 .\n")
    del spans["figure"][0]["attributes"]
    assert with_figures(text, spans) == "Before.\nFigure 1 .\nWhat it shows."


def test_references_to_figures_keep_the_first_sentence_and_at_most_twelve_words():
    text, spans = figures("\nFigure 1 .\n")
    ref = {"figureref": [{"start": 0, "end": 6, "attributes": {"ref_id": "fig_0"}}]}
    assert with_figures(text, spans | ref).startswith(" [fig_ref] Figure 1: What it shows. [/fig_ref].\n[fig] ")
    long = "One two three four five six seven eight nine ten eleven twelve thirteen; more"
    text = text.replace("What it shows.", long)
    spans["figure"][0]["end"] = spans["figurecaption"][0]["end"] = len(text)
    expected = " [fig_ref] Figure 1: One two three four five six seven eight nine ten eleven twelve... [/fig_ref]."
    assert with_figures(text, spans | ref).startswith(expected)


def test_references_to_works():
    body = [HEADING, ("So they say ", "", None), ("[1]", "bibref", {"ref_id": "b0"}), (" .", "", None)]
    assert (
        bibliography(body, ("b0", "A study", "Doe")) == "\n\n# Results\nSo they say [bib_ref] A study, Doe [/bib_ref]."
    )


def test_a_work_without_a_known_author_is_lost():
    body = [HEADING, ("So they say", "", None), ("[1]", "bibref", {"ref_id": "b0"}), ("now.", "", None)]
    assert bibliography(body, ("b0", "A study", "")) == "\n\n# Results\nSo they saynow."


def test_one_parenthesis_near_a_reference_goes_with_it():
    body = [HEADING, ("It (as ", "", None), ("1", "bibref", {"ref_id": "b0"}), ("a) is.", "", None)]
    assert bibliography(body, ("b0", "A study", "Doe")) == "\n\n# Results\nIt (as [bib_ref] A study, Doe [/bib_ref] is."


def test_unresolved_references_vanish_and_glue_what_stands_around_them():
    pieces = [HEADING, ("seen", "", None), ("(Figure 2)", "figureref", {"ref_id": "fig_9"}), ("here", "", None)]
    assert formatted(pieces) == "\n\n# Results\nseenhere"
    pieces[2] = ("(Figure 2)", "figureref", None)  # without an id, a space stays
    assert formatted(pieces) == "\n\n# Results\nseen here"


def test_formulas_authors_and_bullets():
    pieces = [
        HEADING,
        ("Doe", "authorlastname", None),
        ("Let ", "", None),
        ("x = 1", "formula", None),
        (" • hold.", "", None),
    ]
    assert formatted(pieces) == "\n\n# Results\nLet\n[formula] x = 1 [/formula]\n- hold."


@pytest.mark.parametrize(
    ("heading", "written"),
    [
        ("RESULTS OF MRI", "\n\n# Results of mri\nx"),
        ("RESULTS OF AN MRI", "\n\n## Results of an mri\nx"),
        ("Case report", "\n\n## Case report\nx"),
        ("ACKNOWLEDGEMENTS", "\n\n## Acknowledgements\nx"),
    ],
)
def test_headings(heading, written):
    assert formatted([(heading, "sectionheader", None), ("\nx", "", None)]) == written


def test_a_literal_token_in_the_text_stays_what_it_is():
    assert formatted([HEADING, ("[fig] </s>", "", None)]).endswith("[fig] </s>")


def test_the_title_of_full_text_is_kept_apart():
    row = {"title": "On [18F]FDG", "content": annotated([HEADING])}
    assert compat.parse(json.dumps(row).encode()) == Document(title="On [18F]FDG", text="\n\n# Results\n")


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        ({"bibref": "not json"}, "bad_annotation"),
        ({"bibref": [{"start": 1, "end": 2}]}, "bad_annotation"),  # a list, but not as JSON text
        ({"bibref": "5"}, "bad_annotation"),
        ({"bibref": "[1]"}, "bad_annotation"),
        ({"formula": '[{"start": 1}]'}, "bad_annotation"),
        ({"bibref": '[{"start": "1", "end": "2"}]'}, None),
        ({"bibref": '[{"start": 1, "end": 99, "attributes": {}}]'}, None),
        ({"bibref": '[{"start": 1, "end": 99, "attributes": {"ref_id": 5}}]'}, None),
        ({"figure": '[{"start": 1, "end": 2, "attributes": {"id": "x"}}]'}, None),
        ({"figurecaption": "not json", "abstract": "not json"}, None),
        ({}, None),
    ],
)
def test_bad_annotations(annotations, reason):
    """What makes the script skip a paper rejects it; what makes it skip an annotation does not."""
    row = {"content": {"text": "some text", "annotations": dict.fromkeys(PAINTED) | annotations}}
    if reason is None:
        assert compat.parse(json.dumps(row).encode()).text
    else:
        with pytest.raises(RejectedError, match=reason):
            compat.parse(json.dumps(row).encode())


@pytest.mark.parametrize(
    "row",
    [
        {"title": "Neither text nor abstract"},
        {"content": {"text": "some text", "annotations": {}}},
        {"content": {"text": "some text"}},
    ],
)
def test_records_of_another_layout(row):
    with pytest.raises(RejectedError, match="missing_field"):
        compat.parse(json.dumps(row).encode())


def test_nothing_left_is_no_text():
    for row in (
        {"abstract": "[Nothing.]"},
        {"text": "1.5\n2.5"},
        {"content": annotated([("Doe", "authorlastname", None)])},
    ):
        with pytest.raises(RejectedError, match="empty_text"):
            compat.parse(json.dumps(row).encode())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("where p < 0.05 and IL-6 > 10 in", "where p  10 in"),
        ("given [18F]FDG, see [the site](https://a.org/b_c).", "given ."),
        ("given [18F]FDG.\nSee [1].", "given FDG.\nSee ."),
        ("see https://a.org/x?y=1&z=%20. Then", "see . Then"),
        ("open [bracket and < sign", "open [bracket and < sign"),
    ],
)
def test_abstracts_lose_what_stands_in_brackets(text, expected):
    assert compat.parse(json.dumps({"abstract": text, "title": "T"}).encode()) == Document("T", expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Care\nof the patient", "Care\n-f the patient"),
        ("Drugs\n* one\n+ two\n• three\n\uf0b7four", "Drugs\n- one\n- two\n- three\n-four"),
        ("An *italic* word, a **bold** one", "An *italic- word, a bold one"),
        ("Dose\n10 (2)\nmg", "Dose\nmg"),
        ("#### First\n## Second\n##### Third", "#### First\n\n# Second\n\n### Third"),
        ("Text\n> quoted\n\n\n■ item", "Text\n quoted\n item"),
    ],
)
def test_guidelines(text, expected):
    assert guideline.cleaned(text) == expected


def test_guidelines_that_were_cleaned_already_stay_as_they_are():
    row = {"clean_text": "Care\nof [the] patient", "raw_text": "x", "title": "Not in the text", "source": "who"}
    assert compat.parse(json.dumps(row).encode()) == Document("", "Care\nof [the] patient")


def titled(group, title, text):
    return titles.put_in_front(batch.of_documents([("f:1", Document(title, text))], "s", group))[0].row(0, named=True)


def test_titles_stand_in_front_of_texts():
    assert titled("papers", "On [18F]FDG", "Text")["text"] == "On [18F]FDG\n\nText"
    assert titled("abstracts", "On [18F]FDG", "Text")["text"] == "On FDG\nText"
    assert titled("abstracts", "[Translated]", "Text")["text"] == "\nText"
    assert titled("guidelines", "", "Text")["text"] == "Text"
    frame = batch.of_documents([("f:1", Document("T", "Text"))], "s", "papers")
    after, drops = titles.put_in_front(frame)
    assert (after.schema, after["title"].to_list(), drops) == (frame.schema, [""], {})
    empty = batch.of_documents([], "s", "abstracts")
    assert titles.put_in_front(empty)[0].schema == frame.schema


numbers = (
    st.integers(-5, 40) | st.floats() | st.text(max_size=3) | st.integers(min_value=2**70) | st.none() | st.booleans()
)
odd = st.recursive(numbers, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner))
attributes = (
    st.dictionaries(st.sampled_from(["id", "ref_id"]), st.sampled_from(["b0", "fig_0", "tab_1", "SEC"]) | odd) | odd
)
entry = st.fixed_dictionaries(
    {"start": st.integers(0, 40) | numbers, "end": numbers}, optional={"attributes": attributes}
)
kinds = st.sampled_from([*PAINTED, "bibtitle", "bibauthorlastname", "figurecaption", "abstract"])


@given(text=st.text("a (.)\n•", max_size=40), some=st.dictionaries(kinds, st.lists(entry | odd, max_size=4) | odd))
def test_any_annotations_give_a_document_or_a_reason(text, some):
    annotations = dict.fromkeys(PAINTED) | {kind: json.dumps(spans) for kind, spans in some.items()}
    with suppress(RejectedError):
        assert compat.parse(json.dumps({"content": {"text": text, "annotations": annotations}}).encode()).text


MANY = 20_000


@pytest.mark.parametrize(
    "spans",
    [
        # All figures claim most of the text, and each is referred to
        {
            "figure": [{"start": 0, "end": 300_000, "attributes": {"id": f"fig_{i}"}} for i in range(MANY)],
            "figurecaption": [{"start": 200_000, "end": 300_000}] * MANY,
            "figureref": [
                {"start": 300_000 + i, "end": 300_001 + i, "attributes": {"ref_id": f"fig_{i}"}} for i in range(MANY)
            ],
        },
        # All entries of the bibliography, none of which ends within another's bounds
        {
            "bibentry": [{"start": i, "end": 200_000 + i, "attributes": {"id": f"b{i}"}} for i in range(MANY)],
            "bibtitle": [{"start": MANY + i, "end": 399_999} for i in range(MANY)],
            "bibref": [
                {"start": 300_000 + i, "end": 300_001 + i, "attributes": {"ref_id": f"b{i}"}} for i in range(MANY)
            ],
        },
        # One long caption, referred to all over the rest of the text
        {
            "figure": [{"start": 0, "end": 300_000, "attributes": {"id": "fig_0"}}],
            "figurecaption": [{"start": 200_000, "end": 300_000}],
            "figureref": [
                {"start": 300_000 + 3 * i, "end": 300_001 + 3 * i, "attributes": {"ref_id": "fig_0"}}
                for i in range(MANY)
            ],
        },
    ],
)
def test_spans_over_the_same_characters_take_bounded_time_and_memory(spans):
    content = annotated([("\n" + "word" * 49_999 + "\n\n" + "word" * 50_000, "", None)], **spans)
    started = time.process_time()
    with pytest.raises(RejectedError, match="spans_overlap"):
        compat.parse(json.dumps({"content": content}).encode())
    assert time.process_time() - started < 5  # the script itself would take hours


@pytest.mark.parametrize(
    "text", ["<" * 300_000, "[" * 300_000, "[](" * 100_000, "://" * 100_000, "http://....." * 20_000]
)
def test_cleaning_takes_time_in_proportion_to_the_text(text):
    started = time.process_time()
    guideline.cleaned(text)
    assert time.process_time() - started < 2
