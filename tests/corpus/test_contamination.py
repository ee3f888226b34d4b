"""Contamination: which documents hold an item of an evaluation set, by which rule, and what is recorded."""

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.corpus.contamination import EXCERPT_CHARACTERS, Contamination
from components.corpus.words import Words
from components.platform.questions.question import Question

YES_NO = {"yes": "yes", "no": "no"}


def question(text, answer="aspirin", context="", benchmark="medqa", pmid=None, id_="q1"):
    options = YES_NO if answer in YES_NO else {"A": answer, "B": "another drug"}
    label = answer if answer in YES_NO else "A"
    return Question(id_, benchmark, "", text, context, options, label, pmid)


def batch_of(*texts, pmids=None):
    columns = {
        "id": [f"id{i}" for i in range(len(texts))],
        "origin": [f"file:{i}" for i in range(len(texts))],
        "pmid": pmids or [None] * len(texts),
        "text": texts,
    }
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def found(questions, *texts, pmids=None, ngram=8, overlap=0.8):
    batch = batch_of(*texts, pmids=pmids)
    marks, matches = Contamination(questions, ngram, overlap)(batch, Words.of(batch["text"]))
    assert marks.dtype == pl.String
    assert len(marks) == len(texts)
    return marks.to_list(), matches


WORDS = [f"word{i}" for i in range(107)]  # 100 8-grams
LONG = " ".join(WORDS)


def test_a_document_matches_from_80_percent_of_the_8_grams_on():
    for held, expected in ((107, "medqa"), (87, "medqa"), (86, None)):
        marks, matches = found([question(LONG)], "Before. " + " ".join(WORDS[:held]) + " after")
        assert marks == [expected]
        assert [match["overlap"] for match in matches] == ([(held - 7) / 100] if expected else [])


def test_overlap_counts_distinct_8_grams_anywhere():
    pieces = (WORDS[60:107], WORDS[:50])  # 40 + 43 of 100
    document = " and then ".join(" ".join(piece) for piece in pieces)
    assert found([question(LONG)], document)[0] == ["medqa"]
    twice = " and then ".join([" ".join(WORDS[:60])] * 2)  # 53, two times
    assert found([question(LONG)], twice)[0] == [None]


def test_overlap_is_a_setting():
    half = " ".join(WORDS[:57])  # 50 of 100
    assert found([question(LONG)], half, overlap=0.5)[0] == ["medqa"]
    assert found([question(LONG)], half, overlap=0.51)[0] == [None]
    assert found([question("a b c d e")], "x b c d e", ngram=4, overlap=0.5)[0] == ["medqa"]


def test_rounding_asks_for_no_more_than_the_share():
    assert 100 * 0.55 > 55  # in binary fractions
    assert found([question(LONG)], " ".join(WORDS[: 55 + 7]), overlap=0.55)[0] == ["medqa"]
    assert found([question(LONG)], " ".join(WORDS[: 54 + 7]), overlap=0.55)[0] == [None]


def test_case_punctuation_and_layout_make_no_difference():
    asked = "Which of these drugs best lowers the blood pressure of older men?"
    document = "... WHICH of these\ndrugs best-lowers (the) blood [fig_ref] pressure [/fig_ref] of older men."
    assert found([question(asked)], document)[0] == ["medqa"]


def test_a_cited_title_is_no_leak():
    asked = "Does swimming twice a week prevent attacks in children with asthma?"
    assert found([question(asked, "yes")], f"As [bib_ref] {asked} Doe [/bib_ref] found, yes.")[0] == [None]
    assert found([question(asked, "yes")], f"As said: {asked}")[0] == ["medqa"]


def test_contexts_are_looked_for():
    context = "Eighty children were taught to swim and counted their attacks over one year."
    marks, matches = found([question("Do they?", "yes", context)], f"Results. {context}")
    assert marks == ["medqa"]
    assert [match["rule"] for match in matches] == ["context"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What lowers fever? Aspirin.", "medqa"),
        ("Aspirin and what lowers fever", "medqa"),
        ("What lowers fever? Paracetamol.", None),
        ("What lowers the fever? Aspirin.", None),
        ("lowers fever aspirin", None),
        ("Aspirin.", None),
        ("", None),
    ],
)
def test_a_short_question_matches_with_its_answer(text, expected):
    marks, matches = found([question("What lowers fever?", "aspirin")], text)
    assert marks == [expected]
    assert [match["rule"] for match in matches] == (["question and answer"] if expected else [])


def test_a_short_question_answered_by_yes_matches_alone():
    marks, matches = found([question("Does aspirin lower fever?", "yes")], "But does aspirin lower fever?", "Yes.")
    assert marks == ["medqa", None]
    assert [match["rule"] for match in matches] == ["question"]


def test_a_short_question_with_a_long_answer():
    answer = "an enzyme that takes part in the making of prostaglandins"
    asked = [question("Aspirin blocks", answer)]
    assert found(asked, f"Aspirin blocks {answer}.", f"It blocks {answer}.")[0] == ["medqa", None]


def test_answers_of_longer_questions_are_not_needed():
    assert found(
        [question("one two three four five six seven eight", "nine")], "one two three four five six seven eight"
    )[0] == ["medqa"]


def test_the_article_of_an_item_matches_by_its_pmid():
    asked = [question("Q", "x y z", pmid="12"), question("Q", "x y z", pmid="12", id_="q2"), question("Q", pmid="1")]
    marks, matches = found(asked, "Some text", "More", "Nothing", pmids=["12", None, "2"])
    assert marks == ["medqa", None, None]
    assert [(match["rule"], match["item"], match["excerpt"]) for match in matches] == [
        ("pmid", "q1", "some text"),
        ("pmid", "q2", "some text"),
    ]


def test_the_first_benchmark_is_named_and_all_matches_are_recorded():
    items = [
        question("What lowers fever?", benchmark="medqa", id_="a"),
        question(LONG, benchmark="pubmedqa", id_="b", pmid="7"),
    ]
    marks, matches = found(items, "clean", f"{LONG}. What lowers fever? Aspirin", LONG, pmids=[None, "7", None])
    assert marks == [None, "medqa", "pubmedqa"]
    assert matches[0] == {
        "document": "id1",
        "origin": "file:1",
        "benchmark": "medqa",
        "item": "a",
        "rule": "question and answer",
        "overlap": 1.0,
        "excerpt": "what lowers fever? aspirin",
    }
    assert [(match["document"], match["item"], match["rule"]) for match in matches[1:]] == [
        ("id1", "b", "pmid"),
        ("id1", "b", "question"),
        ("id2", "b", "question"),
    ]
    assert matches[3]["excerpt"] == LONG[:EXCERPT_CHARACTERS]


def test_nothing_to_look_for_and_nothing_to_look_through():
    assert found([], "text") == ([None], [])
    assert found([question("?!", "")], "text") == ([None], [])
    assert found([question(LONG)]) == ([], [])


def test_matches_never_run_over_the_end_of_a_document():
    eight = "one two three four five six seven eight"
    texts = ("one two three four", "five six seven eight", f"and {eight}")
    assert found([question(eight)], *texts)[0] == [None, None, "medqa"]
    assert found([question("one two", "three")], "one two", "three", "one two three")[0] == [None, None, "medqa"]


def plainly_found(questions, text, ngram, overlap):
    """The rules that match, by item, from sets of tuples of words."""

    def words(piece):
        return re.findall(r"\w+", piece)

    def ngrams(piece, n):
        return {tuple(piece[i : i + n]) for i in range(len(piece) - n + 1)}

    def holds(piece):
        return tuple(piece) in ngrams(words(text), len(piece))

    matches = set()
    for item, asked in enumerate(questions):
        for rule, piece in (("question", words(asked.question)), ("context", words(asked.context))):
            if grams := ngrams(piece, ngram):
                held = len(grams & ngrams(words(text), ngram))
                if held >= overlap * len(grams):
                    matches.add((item, rule, held / len(grams)))
        stem = words(asked.question)
        answer = words(asked.options[asked.answer]) if asked.answer not in YES_NO else []
        if 0 < len(stem) < ngram and holds(stem) and (not answer or holds(answer)):
            matches.add((item, "question and answer" if answer else "question", 1.0))
    return matches


pieces = st.lists(st.sampled_from("abc"), max_size=9).map(" ".join)
items = st.builds(question, pieces, st.sampled_from(["a", "b c", "c c a b a", "yes"]), context=pieces)


@given(
    st.lists(items, max_size=5),
    st.lists(pieces, max_size=4),
    st.integers(2, 5),
    st.sampled_from([0.25, 0.5, 0.75, 1.0]),
)
def test_matches_are_those_of_a_plain_program(questions, texts, ngram, overlap):
    questions = [
        Question(str(i), q.benchmark, "", q.question, q.context, q.options, q.answer) for i, q in enumerate(questions)
    ]
    marks, matches = found(questions, *texts, ngram=ngram, overlap=overlap)
    expected = [
        (f"id{document}", str(item), rule, share)
        for document, text in enumerate(texts)
        for item, rule, share in sorted(plainly_found(questions, text, ngram, overlap))
    ]
    assert [(match["document"], match["item"], match["rule"], match["overlap"]) for match in matches] == expected
    assert marks == ["medqa" if f"id{i}" in {row[0] for row in expected} else None for i in range(len(texts))]
