"""Chain of thought: what is asked of the engine, and how texts vote."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluation.items import prepare, prepare_reasoning
from components.evaluation.modes import chain_of_thought
from components.evaluation.modes.chain_of_thought import sample_seed, vote
from components.platform.errors import InputError
from components.platform.questions.benchmark import load_benchmark
from components.platform.questions.prompt import REASONING
from components.platform.questions.readers import read_questions

MEDQA = load_benchmark("medqa-4-option")


@pytest.fixture
def questions(platform):
    return read_questions(MEDQA, "test", platform)


class ScriptedEngine:
    """Says what a test tells it to, and remembers what it was asked."""

    def __init__(self, *texts):
        self.texts = texts

    def generate(self, prompts, seeds, temperature, max_new_tokens, shared):
        self.asked = (prompts, seeds, temperature, max_new_tokens, shared)
        return [list(self.texts[: len(own)]) for own in seeds]


@pytest.mark.parametrize(
    ("votes", "label"),
    [
        (["A"], "A"),
        (["A", "B", "B"], "B"),
        (["B", "A", "A", "B"], "B"),  # the one that was first voted for
        (["A", "B", "B", "A"], "A"),
        ([None, "C", None, None], "C"),  # replies that can't be read abstain
        ([None, "C", "A", None], "C"),
        ([None, None], None),
        ([], None),
    ],
)
def test_votes(votes, label):
    assert vote(votes) == label


@given(st.lists(st.sampled_from(["A", "B", "C", None]), max_size=9))
def test_the_winner_has_no_fewer_votes_than_any_other(votes):
    winner = vote(votes)
    assert (winner is None) == (set(votes) <= {None})
    assert all(votes.count(winner) >= votes.count(label) for label in votes if winner and label)


def test_texts_vote_and_abstain(engine, questions):
    items = prepare_reasoning(questions[:2], MEDQA, "paper", engine, 30)
    scripted = ScriptedEngine("So the answer is B.", "I can't say.", "(A) is wrong. Thus, (C).", "Hence C.", "B")
    replies = chain_of_thought.answer(items, scripted, 5, 0.8, 30, seed=7, shared=3)
    for reply in replies:
        assert reply.votes == ("B", None, "C", "C", "B")
        assert (reply.prediction, reply.restricted_prediction, reply.choice_logprobs) == ("B", None, {})
    prompts, seeds, *rest = scripted.asked
    assert prompts == [item.tokens for item in items]
    assert rest == [0.8, 30, 3]
    assert len({seed for own in seeds for seed in own}) == 10


def test_seeds_depend_on_seed_item_and_sample_only(questions):
    first, second = questions[:2]
    seeds = [
        sample_seed(0, first, 0),
        sample_seed(1, first, 0),
        sample_seed(0, second, 0),
        sample_seed(0, first, 1),
        sample_seed(0, replace(first, benchmark="medqa"), 0),
    ]
    assert len(set(seeds)) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)  # as vLLM and torch take them
    assert sample_seed(0, replace(first, question="the same, shortened"), 0) == seeds[0]


@pytest.mark.parametrize("style", ["paper", "code"])
def test_the_model_is_asked_to_think_behind_the_options(engine, questions, style):
    [item], [plain] = (
        prepare_reasoning(questions[:1], MEDQA, style, engine, 9),
        prepare(questions[:1], MEDQA, style, engine),
    )
    assert REASONING.startswith("Let's think step by step")
    assert item.prompt == plain.prompt.replace(
        "<|im_end|>\n<|im_start|>answer", f"\n\n{REASONING}<|im_end|>\n<|im_start|>answer"
    )
    assert item.tokens == tuple(engine.encode(item.prompt))


def test_a_reply_has_room(engine, questions, monkeypatch):
    [item] = prepare_reasoning(questions[:1], MEDQA, "paper", engine, 9)
    monkeypatch.setattr(engine, "max_length", len(item.tokens) + 9)
    assert prepare_reasoning(questions[:1], MEDQA, "paper", engine, 9) == [item]
    [shorter] = prepare_reasoning(questions[:1], MEDQA, "paper", engine, 10)
    assert shorter.shortened
    assert len(shorter.tokens) + 10 <= engine.max_length
    with pytest.raises(
        InputError, match=r"max_new_tokens 5000 leaves no room for a prompt: the model takes \d+ tokens"
    ):
        prepare_reasoning(questions[:1], MEDQA, "paper", engine, 5000)
