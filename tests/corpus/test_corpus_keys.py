"""The keys by which documents are known, and by which two of them are found to be the same."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.corpus import batch
from components.corpus.fingerprint import Fingerprint
from components.corpus.identify import identify
from components.corpus.sources.document import Document
from components.corpus.words import Words


def identified(*documents, group="papers"):
    frame = batch.of_documents([(f"x:{number}", document) for number, document in enumerate(documents)], "x", group)
    frame, drops = identify(frame)
    assert drops == {}
    frame, drops = Fingerprint(None, None, [])(frame)
    assert drops == {}
    return frame


def test_ids_name_the_work():
    frame = identified(
        Document("T", "one", pmid="7", doi="10.1/x"), Document("", "two", corpusid="9"), Document("T", "three")
    )
    assert frame["id"].to_list()[:2] == ["pmid:7", "corpusid:9"]
    assert frame["id"][2].startswith("text:")
    assert frame["text"].to_list() == ["T\n\none", "two", "T\n\nthree"]
    assert frame["key"].n_unique() == 3
    assert frame["key_pmid"].null_count() == 2
    again = identified(Document("Another title", "four", pmid="7"))
    assert again["key"][0] == frame["key"][0] == frame["key_pmid"][0] == again["key_pmid"][0]


def test_abstracts_have_their_title_on_the_line_before():
    assert identified(Document("T", "one"), group="abstracts")["text"][0] == "T\none"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("the dose was 5 mg", True),
        ("The dose\n\nwas: 5 mg!", True),
        ("The dose was 5 mg [bib_ref] Doses, Smith [/bib_ref]", True),
        ("The dose was 5 mg.5", False),
        ("dose the was 5 mg", False),
        ("The dose was 50 mg", False),
        ("The dose was", False),
    ],
)
def test_texts_of_the_same_words_share_a_key(text, same):
    keys = identified(Document("One title", "The dose was 5 mg."), Document("Another", text))["key_text"]
    assert (keys[0] == keys[1]) == same


def test_titles_and_marks_alone_have_no_key():
    keys = identified(Document("A title", "..."), Document("", "–"), Document("A title", "a"))["key_text"]
    assert keys.is_null().to_list() == [True, True, False]


WORDS = st.lists(st.sampled_from(["the", "dose", "was", "five", "mg", "a", "b", "β", "患者"]), max_size=6)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=8))
def test_keys_depend_on_the_words_after_the_title_alone(documents):
    texts = pl.Series([f"{' '.join(title)}\n{' '.join(words)}" for title, words in documents])
    keys = Words.of(texts).keys(np.array([len(title) for title, _ in documents])).to_list()
    by_words = {}
    for (_, words), found in zip(documents, keys, strict=True):
        assert (found is None) == (not words)
        assert by_words.setdefault(tuple(words), found) == found
    assert len(set(by_words.values())) == len(by_words)
