"""Prompt styles, sampling and shortening."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.platform.questions.benchmark import load_benchmark
from components.platform.questions.prompt import answer_start, answer_text, messages
from components.platform.questions.question import Question
from components.platform.questions.sampling import sample
from components.platform.questions.shortening import shorten_context, shorten_question

MEDQA, PUBMEDQA = load_benchmark("medqa-4-option"), load_benchmark("pubmedqa")
NECK = Question(
    id="1",
    benchmark="medqa-4-option",
    subject="step1",
    question="What is in this neck?",
    context="",
    options={"A": "Lipoma", "B": "Goitre", "C": "Cystic hygroma", "D": "Nothing"},
    answer="C",
)
ABSTRACT = Question(
    id="2",
    benchmark="pubmedqa",
    subject="",
    question="Does it work?",
    context="We tried it.\nIt worked twice.",
    options={"yes": "yes", "no": "no", "maybe": "maybe"},
    answer="maybe",
)


def test_paper_style():
    system, question = messages(NECK, MEDQA, "paper")
    assert system == {"role": "system", "content": MEDQA.instruction}
    assert question["role"] == "question"
    assert question["content"] == (
        "Question: What is in this neck?\n\nOptions:\n(A) Lipoma\n(B) Goitre\n(C) Cystic hygroma\n(D) Nothing"
    )
    assert answer_text(NECK, MEDQA, "paper") == "(C) Cystic hygroma"
    assert answer_start("C", MEDQA, "paper") == "(C)"


def test_code_style():
    [question] = messages(NECK, MEDQA, "code")
    assert question["role"] == "question"
    assert question["content"] == (
        f"{MEDQA.instruction}\n"
        "Question: What is in this neck?\n\nOptions:\nA. Lipoma\nB. Goitre\nC. Cystic hygroma\nD. Nothing"
    )
    assert answer_text(NECK, MEDQA, "code") == answer_start("C", MEDQA, "code") == "C"


def test_questions_with_context_are_answered_by_a_word():
    _, question = messages(ABSTRACT, PUBMEDQA, "paper")
    body = "Context: We tried it.\nIt worked twice.\n\nQuestion: Does it work?"
    assert question["content"] == body
    assert messages(ABSTRACT, PUBMEDQA, "code")[0]["content"] == f"{PUBMEDQA.instruction}\n{body}"
    for style in ("paper", "code"):
        assert answer_text(ABSTRACT, PUBMEDQA, style) == answer_start("maybe", PUBMEDQA, style) == "maybe"


def test_a_question_without_context_has_no_context_line():
    content = messages(replace(ABSTRACT, context=""), PUBMEDQA, "paper")[1]["content"]
    assert content == "Question: Does it work?"


QUESTIONS = [replace(NECK, id=str(number)) for number in range(50)]


@given(st.integers(0, 60), st.integers(), st.randoms())
def test_sampling_does_not_depend_on_file_order_and_grows(max_items, seed, random):
    chosen = {question.id for question in sample(QUESTIONS, max_items, seed)}
    assert len(chosen) == min(max_items, 50)
    shuffled = random.sample(QUESTIONS, 50)
    assert {question.id for question in sample(shuffled, max_items, seed)} == chosen
    assert chosen <= {question.id for question in sample(QUESTIONS, max_items + 1, seed)}


def test_sampling_keeps_order_and_follows_the_seed():
    ids = [int(question.id) for question in sample(QUESTIONS, 10, seed=1)]
    assert ids == sorted(ids)
    assert ids != [int(question.id) for question in sample(QUESTIONS, 10, seed=2)]
    assert sample(QUESTIONS, None, seed=1) == QUESTIONS


def words(question):
    return len(question.context.split()) + len(question.question.split())


@given(st.lists(st.sampled_from(["a", "b\n", " c", "d  "]), max_size=12), st.integers(0, 20))
def test_context_is_cut_from_its_end_and_no_more_than_needed(parts, limit):
    question = replace(ABSTRACT, context=" ".join(parts))
    shorter = shorten_context(question, words, limit)
    if limit < 3:  # the question itself has three words
        assert shorter is None
    else:
        assert question.context.startswith(shorter.context)
        assert shorter.question == question.question
        assert words(shorter) == min(words(question), limit)


@pytest.mark.parametrize(
    ("limit", "expected"), [(9, "What is in this neck?"), (2, "this neck?"), (1, "neck?"), (0, ""), (-1, None)]
)
def test_the_end_of_a_question_is_kept(limit, expected):
    shorter = shorten_question(replace(NECK, context="never needed"), words, limit)
    assert (shorter and (shorter.context, shorter.question)) == (None if expected is None else ("", expected))
