"""Cleaning, filters, identifiers, licences and markup."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.corpus import batch, identifiers, licence, markup
from components.corpus.clean import Clean, escapes
from components.corpus.contacts import Contacts
from components.corpus.filters import Filters
from components.corpus.fingerprint import Fingerprint
from components.corpus.identify import KEYS, identify, key
from components.corpus.language import Language
from components.corpus.settings import Decontaminate, NearDuplicates
from components.corpus.sources.document import Document
from components.corpus.upsampling import Upsampling, UpsamplingColumns
from components.corpus.vocabulary import ADDED_TOKENS, BASE_TOKENS
from components.platform.questions.question import Question

RESERVED = (*BASE_TOKENS, *ADDED_TOKENS)


def frame(*documents, group="papers"):
    return batch.of_documents([(f"f:{i}", document) for i, document in enumerate(documents)], "s", group)


def cleaned(text, title="", keep_layout=False):
    result, drops = Clean(RESERVED, keep_layout)(frame(Document(title, text)))
    assert drops == {}
    return result["title"][0], result["text"][0]


@pytest.mark.parametrize(
    "text",
    [
        "p < 0.05 and IL-6 > 10",
        "[18F]FDG",
        "of the patient",
        "a [fig. 2] b",
        "x <b> y",
        "5 ≥ 3 µg/mL, 10−3",
        "# A\n\nb\n- c",
    ],
)
def test_content_survives(text):
    assert cleaned(text, text.replace("\n", " ")) == (" ".join(text.split()), text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("e\u0301", "é"),
        ("a\r\nb\rc\u2028d\x0be", "a\nb\nc\nd\ne"),
        ("a\x00b\x07c\u00add\u200be\ufefff\uffffg", "abcdefg"),
        ("a \u00a0\t b", "a b"),
        (" a \n b ", "a\nb"),
        ("a\n\n\n\nb", "a\n\nb"),
    ],
)
def test_cleaning(text, expected):
    assert cleaned(text)[1] == expected


def decomposed_pairs():
    """Every character that NFC changes or composes: itself, and what it is composed of."""
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if not 0xD800 <= code < 0xE000 and unicodedata.normalize("NFD", character) != character:
            yield character, unicodedata.normalize("NFD", character)


def test_every_text_that_nfc_would_change_is_normalised():
    pairs = list(decomposed_pairs())
    assert len(pairs) > 13_000
    texts = [f"a{text}b" for pair in pairs for text in pair]
    result, _ = Clean(RESERVED, keep_layout=False)(frame(*(Document("", text) for text in texts)))
    assert result["text"].to_list() == [" ".join(unicodedata.normalize("NFC", text).split()) for text in texts]


def test_layout_of_replayed_code_is_kept():
    assert cleaned("def f():\n    return  1  \n\n\n\nx", keep_layout=True)[1] == "def f():\n    return  1\n\n\n\nx"


@pytest.mark.parametrize("token", RESERVED)
def test_our_tokens_in_raw_text_are_broken_up(token):
    title, text = cleaned(f"a {token}{token} b", title=token)
    assert token not in text
    assert text.replace(" ", "") == f"a{token}{token}b"
    assert title == f"{token[0]} {token[1:]}"


def test_no_token_arises_from_cleaning():
    assert "[fig]" not in cleaned("[fi\x00g] [\u200bfig]")[1]
    assert "</s>" not in cleaned("</\xads>")[1]


pieces = st.sampled_from([*"[]/<>s fig|", "\x00", "\u0338", "[fig]", "</s>", "<|im_start|>", "\ufdd6"])


@given(text=st.lists(pieces).map("".join))
def test_no_reserved_token_ever_comes_from_raw_text(text):
    assert not any(token in cleaned(markup.raw(text))[1] for token in RESERVED)


def test_escapes_are_undone_by_taking_the_space_away():
    patterns = dict(escapes(["[a]", "[b]", "<c>"]))
    assert len(patterns) == 2
    assert cleaned("[fig] 1")[1] == "[ fig] 1"


def test_marks_become_tokens():
    text = (
        "A"
        + markup.bib_ref("T", "Doe")
        + ", b ("
        + markup.fig_ref("Figure 1", "C")
        + ")."
        + markup.captioned("fig", "Figure 1", "[fig] C")
        + markup.block("formula", "x")
        + "end"
    )
    assert cleaned(text)[1] == (
        "A [bib_ref] T, Doe [/bib_ref], b ([fig_ref] Figure 1: C [/fig_ref]).\n"
        "[fig] Figure 1: [ fig] C [/fig]\n\n[formula] x [/formula]\nend"
    )


def test_markup_pieces(readable):
    long = " ".join(str(i) for i in range(20))
    assert readable(markup.bib_ref(long, "Doe")) == "[bib_ref]0 1 2 3 4 5 6 7 8 9 10 11..., Doe[/bib_ref]"
    assert readable(markup.bib_ref("Title.", "")) == "[bib_ref]Title[/bib_ref]"
    assert markup.bib_ref("", "") == ""
    assert readable(markup.fig_ref("Figure 1 .", "The long first sentence. The second.")) == (
        "[fig_ref]Figure 1: The long first sentence[/fig_ref]"
    )
    assert readable(markup.fig_ref("", "x")) == "[fig_ref]x[/fig_ref]"
    assert markup.heading("", True) == ""
    assert markup.heading(" A\n b", False) == "\n\n## A b\n"
    assert markup.is_main_section("Materials and Methods")
    assert not markup.is_main_section("The results of the second experiment")
    assert markup.is_dropped_section("7. ACKNOWLEDGEMENTS:")
    assert not markup.is_dropped_section("References to earlier work")
    assert len(markup.TOKENS) == len(set(markup.TOKENS)) == 12


def kept(document, min_characters=1, licences=None, unknown=False, pubmed_only=False):
    result, drops = Filters(min_characters, licences, unknown, pubmed_only)(frame(document))
    return "kept" if result.height else next(iter(drops))


def test_filters():
    assert kept(Document("", "abc"), min_characters=3) == "kept"
    assert kept(Document("", "abc"), min_characters=4) == "too_short"
    assert kept(Document("", ""), min_characters=1) == "too_short"
    assert kept(Document("", "abc", retracted=True)) == "retracted"
    allowed = ("cc-by",)
    assert kept(Document("", "abc", "cc-by"), licences=allowed) == "kept"
    assert kept(Document("", "abc", "cc-by-nc"), licences=allowed) == "licence_not_allowed"
    assert kept(Document("", "abc"), licences=allowed) == "licence_unknown"
    assert kept(Document("", "abc"), licences=allowed, unknown=True) == "kept"
    assert kept(Document("", "abc", "cc-by-nc"), licences=allowed, unknown=True) == "licence_not_allowed"
    assert kept(Document("", "abc", pmid="1"), pubmed_only=True) == "kept"
    assert kept(Document("", "abc", pmcid="1"), pubmed_only=True) == "kept"
    assert kept(Document("", "abc", doi="10.1000/x"), pubmed_only=True) == "not_in_pubmed"


def test_a_document_is_dropped_for_one_reason():
    documents = [
        Document("RETRACTED: x", ""),
        Document("", "", "other"),
        Document("", "abc"),
        Document("", "abc", "cc-by"),
    ]
    result, drops = Filters(1, ("cc-by",), unknown_licence=False, pubmed_only=True)(frame(*documents))
    assert result.height == 0
    assert drops == {"retracted": 1, "too_short": 1, "licence_unknown": 1, "not_in_pubmed": 1}


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("RETRACTED: A study", "retracted"),
        ("[Retracted] A study", "retracted"),
        ("Retracted Article: A study", "retracted"),
        ("WITHDRAWN: A review", "retracted"),
        ("Retracted papers and their citations", "kept"),
        ("Withdrawn patients: outcomes", "kept"),
    ],
)
def test_retracted_titles(title, expected):
    assert kept(Document(title, "abc")) == expected


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("CCBY", "cc-by"),
        ("CCBYNC", "cc-by-nc"),
        ("CCBYNCND", "cc-by-nc-nd"),
        ("CCBYSA", "cc-by-sa"),
        ("CC BY-NC-SA 4.0", "cc-by-nc-sa"),
        ("CC0", "cc0"),
        ("public-domain", "public-domain"),
        ("No copyright restrictions apply.", "public-domain"),
        ("publisher-specific-oa", "publisher-specific-oa"),
        ("GPL 3", "gpl-3"),
        ("", "unknown"),
        (None, "unknown"),
        (" \n", "unknown"),
        ("https://creativecommons.org/licenses/by-nc/2.0", "cc-by-nc"),
        ("Creative Commons Attribution Share Alike", "cc-by-sa"),
        ("under the Creative Commons Attribution License, no derivative was made and noncommercial aims", "cc-by"),
    ],
)
def test_licences(statement, expected):
    assert licence.normalised(statement) == expected
    assert licence.normalised(expected) == expected


def test_identifiers():
    assert identifiers.pmid(" 012 ") == identifiers.pmid(12) == identifiers.pmid("PMID: 12") == "12"
    assert identifiers.pmid("0") is identifiers.pmid("x1") is identifiers.pmid("") is identifiers.pmid(None) is None
    assert identifiers.pmcid("PMC0077") == identifiers.pmcid("77") == "77"
    assert identifiers.doi("https://doi.org/10.1000/AB.C.") == identifiers.doi("doi:10.1000/ab.c") == "10.1000/ab.c"
    assert identifiers.doi("11.1/x") is identifiers.doi("10.1000/") is None
    assert identifiers.corpusid(5) == "5"


def test_title_goes_in_front():
    for group, expected in (("papers", "T\n\nbody"), ("abstracts", "T\nbody"), ("guidelines", "T\n\nbody")):
        assert identify(frame(Document("T", "body"), group=group))[0]["text"].to_list() == [expected]
    assert identify(frame(Document("", "body")))[0]["text"].to_list() == ["body"]


def test_ids_name_the_work():
    documents = [
        Document("T", "a", pmid="1", doi="10.1000/x"),
        Document("T", "b", doi="10.1000/x", corpusid="9"),
        Document("T", "c", corpusid="9"),
        Document("T", "text"),
        Document("U", "text"),
    ]
    result, _ = identify(frame(*documents))
    assert result["id"].to_list()[:3] == ["pmid:1", "doi:10.1000/x", "corpusid:9"]
    assert result["id"].str.head(5).to_list()[3:] == ["text:"] * 2
    assert result["id"].n_unique() == 5
    assert result["key"].to_list() == [key(id_) for id_ in result["id"]]
    assert result["key_doi"][0] == result["key_doi"][1] == key("doi:10.1000/x")
    assert result["key_corpusid"].to_list() == [None, key("corpusid:9"), key("corpusid:9"), None, None]


def test_equal_texts_have_equal_keys():
    """... whatever their titles, case, punctuation and spacing."""
    texts = [("T", "Some, text!"), ("Another title", "some text"), ("", "SOME text"), ("Some", "text"), ("T", "?!")]
    identified, _ = identify(frame(*(Document(*pair) for pair in texts)))
    keys = Fingerprint(None, None, ())(identified)[0]["key_text"].to_list()
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert keys[4] is None


def test_a_batch_without_documents_has_all_columns():
    questions = [Question("1", "pubmedqa", "", "Is it?", "", {"yes": "yes"}, "yes")]
    settings = (NearDuplicates(bands=2), Decontaminate(benchmarks=["pubmedqa"]))
    full = frame(Document("T", "Some text of the reader"))
    empty = frame()
    steps = (
        Clean(RESERVED, False),
        Contacts(),
        Filters(1, None, False, False),
        Language(("en",)),
        identify,
        UpsamplingColumns(Upsampling()),
        Fingerprint(*settings, questions),
    )
    for step in steps:
        (full, _), (empty, drops) = step(full), step(empty)
        assert empty.schema == full.schema
        assert empty.height == 0
        assert drops == {}
    added = ["scrubbed", "id", "key", *(f"key_{name}" for name in KEYS), "band_00", "band_01", "contaminated"]
    assert set(added) < set(empty.columns)
