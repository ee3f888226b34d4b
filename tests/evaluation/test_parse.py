"""Replies in free text: which say an option, and which only look like it."""

import pytest

from components.evaluation.parse import parse_choice

LETTERS = {"A": "Lipoma", "B": "Goitre", "C": "Cystic hygroma", "D": "difficile colitis"}
WORDS = {"yes": "yes", "no": "no", "maybe": "maybe"}

CLEAR = {
    "B": "B",
    "b": "B",
    "a": "A",
    " B": "B",
    "(B": "B",
    "(b)": "B",
    "[B]": "B",
    "B.": "B",
    "B)": "B",
    "B:": "B",
    "**B**": "B",
    '"B".': "B",
    "B\n": "B",
    "B. Goitre": "B",
    "B. goitre": "B",
    "B Goitre": "B",
    "(C) Cystic hygroma": "C",
    "(C) Cystic hygroma, because it is cystic": "C",
    "Cystic hygroma": "C",
    "cystic hygroma.": "C",
    "D. difficile colitis": "D",
    "B, because the thyroid moves.": "B",
    "B because the thyroid moves.": "B",
    "A is correct.": "A",
    "The answer is B": "B",
    "The answer is: (B).": "B",
    "the answer is b.": "B",
    "Answer: B": "B",
    "**Answer:** B": "B",
    "Answer: **B**": "B",
    "The correct answer is option C, as A 45-year-old has it.": "C",
    "The correct option is D": "D",
    "The best choice would be (A).": "A",
    "A 45-year-old man has a mass. Therefore, the answer is (B).": "B",
    "The answer is A. No: on reflection, the answer is D.": "D",
    "I would pick (A) here.": "A",
    "(A) is wrong, so the answer must be (B)": "B",
}

UNCLEAR = [
    "",
    "\n",
    "because of the thyroid",
    "Because",
    "be",
    "A 45-year-old man",
    "A man",
    "Both A and B",
    "A or B",
    "A, B",
    "(A) or (B)",
    "(A) is wrong, and so is (B)",
    "(A) is wrong.",
    "A is not the answer",
    "The answer is not B",
    "The answer is a drug.",
    "The answer is A or B.",
    "C. difficile",
    "B-cells are involved",
    "B's role",
    "Dr. House",
    "E",
    "(E)",
    "The answer is E",
    "I don't know",
    "yes",
]


@pytest.mark.parametrize(("reply", "label"), CLEAR.items())
def test_clear_replies(reply, label):
    assert parse_choice(reply, LETTERS) == label


@pytest.mark.parametrize("reply", UNCLEAR)
def test_replies_that_choose_nothing(reply):
    assert parse_choice(reply, LETTERS) is None


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("yes", "yes"),
        ("Yes", "yes"),
        (" no", "no"),
        ("No.", "no"),
        ("maybe", "maybe"),
        ("Maybe, as the trial was small.", "maybe"),
        ("Yes, because no patient died.", "yes"),
        ("Yes because it works", "yes"),
        ("The answer is maybe.", "maybe"),
        ("There is no doubt: the answer is yes.", "yes"),
        ("Answer: no", "no"),
        ("There is no evidence", None),
        ("No one knows", None),
        ("no-one", None),
        ("none", None),
        ("not", None),
        ("yes or no", None),
        ("Yes and no", None),
        ("yesterday", None),
        ("maybe not", None),
        ("A", None),
    ],
)
def test_yes_no_maybe(reply, label):
    assert parse_choice(reply, WORDS) == label


def test_options_with_the_same_text_need_their_label():
    options = {"A": "None of these", "B": "None of these"}
    assert parse_choice("None of these", options) is None
    assert parse_choice("(B) None of these", options) == "B"
