"""From questions to what a model is given: prompts as tokens, and the tokens that stand for the options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components.evaluation.engine.interface import Engine
from components.platform.errors import InputError
from components.platform.questions.benchmark import Benchmark
from components.platform.questions.prompt import PromptStyle, answer_start, messages
from components.platform.questions.question import Question
from components.platform.questions.shortening import shorten_context, shorten_question


@dataclass(frozen=True)
class AnswerTokens:
    """How answers begin, in tokens.

    Attributes:
        opening: what all answers begin with, such as "(": given to the model, as it tells nothing.
        choices: label → the token after the opening; no two labels share one.
    """

    opening: tuple[int, ...]
    choices: dict[str, int]


@dataclass(frozen=True)
class Item:
    """A question as one model gets it.

    Attributes:
        question: as in the benchmark, or shortened.
        prompt: the text up to the answer.
        tokens: the prompt with the answer's opening; empty when not even the shortened question fits the
            model.
        answers: the tokens that stand for the options.
        shortened: something was cut off to make it fit.
    """

    question: Question
    prompt: str
    tokens: tuple[int, ...]
    answers: AnswerTokens
    shortened: bool

    @property
    def key(self) -> tuple[str, str]:
        return self.question.benchmark, self.question.id


def prepare(questions: Sequence[Question], benchmark: Benchmark, style: PromptStyle, engine: Engine) -> list[Item]:
    """Items of one benchmark, in the questions' order.

    Raises:
        InputError: the model's tokenizer can't tell the options apart.
    """
    answers = answer_tokens(benchmark, style, engine)

    def prompt(question: Question) -> str:
        return engine.render(messages(question, benchmark, style))

    def length(question: Question) -> int:
        return len(engine.encode(prompt(question))) + len(answers.opening)

    def item(question: Question) -> Item:
        text = prompt(question)
        tokens = (*engine.encode(text), *answers.opening)
        limit = engine.max_length
        if limit is None or len(tokens) <= limit:
            return Item(question, text, tokens, answers, shortened=False)
        shorter = shorten_context(question, length, limit) or shorten_question(question, length, limit)
        if shorter is None:
            return Item(question, text, (), answers, shortened=True)
        text = prompt(shorter)
        return Item(shorter, text, (*engine.encode(text), *answers.opening), answers, shortened=True)

    return [item(question) for question in questions]


def answer_tokens(benchmark: Benchmark, style: PromptStyle, engine: Engine) -> AnswerTokens:
    """Find the tokens by which answers to a benchmark differ.

    Tokenizers write a letter differently at the start of a text, after a space and after a newline; so the
    answers are tokenized where they will stand, behind the opening of an answer turn.

    Raises:
        InputError: the tokenizer can't tell the options apart by one token.
    """
    prompt = engine.render([{"role": "question", "content": ""}])
    before = engine.encode(prompt)
    tokens = {}
    for label in benchmark.labels:
        whole = engine.encode(prompt + answer_start(label, benchmark, style))
        if whole[: len(before)] != before:
            raise InputError(f"the tokenizer joins the answer {label!r} with the prompt before it; can't evaluate")
        tokens[label] = tuple(whole[len(before) :])
    opening: list[int] = []
    for alternatives in zip(*tokens.values(), strict=False):
        if len(set(alternatives)) > 1:
            break
        opening.append(alternatives[0])
    choices = {label: ids[len(opening)] for label, ids in tokens.items() if len(ids) > len(opening)}
    if len(set(choices.values())) < len(benchmark.labels):
        raise InputError(
            f"the tokenizer gives the answers to {benchmark.name} the tokens {tokens}: "
            "their first differing token must be another for each answer"
        )
    return AnswerTokens(tuple(opening), choices)
