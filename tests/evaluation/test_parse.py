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
    "The answer is: clearly B": "B",
    "The answer is most likely B.": "B",
    "The answer is therefore B": "B",
    "The most likely answer is (A).": "A",
    "The answer is B, not A.": "B",
    "The answer cannot be A. The answer is C.": "C",
    "The correct answer is **C**": "C",
    "The correct answer is Cystic hygroma.": "C",
    "The answer is cystic hygroma (C).": "C",
    "The answer is $\\boxed{C}$.": "C",
    "\\boxed{C}": "C",
    "Final answer: C": "C",
    "I would choose B.": "B",
    "Hence C.": "C",
}

# Replies that think first: many options are named, and one is the conclusion.
REASONED = {
    "Therefore, the answer is C.": "C",
    "Option A is a lump of fat. Option B moves. Option C transilluminates. Therefore, the answer is C.": "C",
    "(A) is a lump of fat. (B) is a thyroid. (C) is cystic, which fits. So the answer is (C) Cystic hygroma.": "C",
    "The answer is B. Option C is a cyst, which would transilluminate.": "B",
    "The answer is B. (C) is wrong because it transilluminates.": "B",
    "Let's see. A is a lipoma, which is soft. B is in the thyroid. Therefore, B.": "B",
    "A 45-year-old man has a mass.\nThus, (B) is correct.": "B",
    "(A) is too soft, and (D) is no mass. (C) is the correct answer.": "C",
    "(A) would be soft, (B) firm.\n\nB": "B",
    "Step 1: it moves.\nStep 2: it is firm.\nAnswer: (B)": "B",
    "In conclusion, the correct choice is D.": "D",
    "At first the answer seems to be A. But the mass is cystic, so it must be C.": "C",
    "B or C? The mass is cystic. The answer is C.": "C",
    "The answer is not A but something cystic. We are left with B and C. I choose C.": "C",
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
    "A 45-year-old",
    "maybe",
    "B and C",
    "The answer is B and C.",
    "The answer is A, B or C.",
    "The answer is either B or C.",
    "The answer is definitely not B.",
    "(A) is a lump of fat. (B) is a thyroid. (C) is cystic.",
    "A is a lipoma, which is soft. B is in the thyroid.",
    "Let's think step by step. A 45-year-old man has a mass. So a",
    "Therefore, A 45-year-old",
    "Let's think. (B) would move on",
    "Let's think. Option B is in the thyroid, which moves on",
    "So, a benign lump",
    "Therefore, the diagnosis is something else.",
]


@pytest.mark.parametrize(("reply", "label"), (CLEAR | REASONED).items())
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
        ("because", None),
        ("The trial found no difference. Therefore, the answer is no.", "no"),
        ("Some say yes, but no trial showed it. So the answer is 'maybe'.", "maybe"),
        ("There was no difference in mortality. In conclusion, yes.", "yes"),
        ("Yes, some improved. However, no effect was shown. Therefore, the answer is: no.", "no"),
        ("Based on the abstract, the answer to the question is maybe.", "maybe"),
        ("There is no clear evidence, so maybe.", "maybe"),
        ("It is not possible to say yes or no; the answer is maybe.", "maybe"),
        ("The results are mixed. Maybe.", "maybe"),
        ("No difference was found between the groups.", None),
    ],
)
def test_yes_no_maybe(reply, label):
    assert parse_choice(reply, WORDS) == label


def test_options_with_the_same_text_need_their_label():
    options = {"A": "None of these", "B": "None of these"}
    assert parse_choice("None of these", options) is None
    assert parse_choice("(B) None of these", options) == "B"
