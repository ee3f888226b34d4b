"""From questions to what a model is given: prompts as tokens, and the tokens that stand for the options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from components.evaluation.engine.interface import Engine
from components.platform.errors import InputError
from components.platform.questions.benchmark import Benchmark
from components.platform.questions.prompt import ANSWER_CUE, PromptStyle, answer_start, few_shot_text, messages
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


# Of a reply in free text, which may begin with anything
NO_ANSWER_TOKENS = AnswerTokens((), {})


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


def prepare(questions: Sequence[Question], benchmark: Benchmark, style: PromptStyle, engine: Engine) -> list[Item]:
    """Items for a reply that is an option and nothing else, in the questions' order.

    Raises:
        InputError: the model knows no chat, or its tokenizer can't tell the options apart.
    """
    answers = answer_tokens(benchmark, style, engine)

    def prompt(question: Question) -> str:
        return engine.render(messages(question, benchmark, style))

    return [_item(question, prompt, answers, engine) for question in questions]


def prepare_reasoning(
    questions: Sequence[Question], benchmark: Benchmark, style: PromptStyle, engine: Engine, max_new_tokens: int
) -> list[Item]:
    """Items for a reply that thinks first, which is to have room for `max_new_tokens`.

    Raises:
        InputError: the model knows no chat, or there is no room for such a reply.
    """
    if engine.max_length is not None and max_new_tokens >= engine.max_length:
        raise InputError(
            f"max_new_tokens {max_new_tokens} leaves no room for a prompt: the model takes {engine.max_length} tokens"
        )

    def prompt(question: Question) -> str:
        return engine.render(messages(question, benchmark, style, reasoning=True))

    return [_item(question, prompt, NO_ANSWER_TOKENS, engine, max_new_tokens) for question in questions]


def prepare_requests(requests: Sequence[Question], instruction: str, engine: Engine, max_new_tokens: int) -> list[Item]:
    """Items for a reply in free text, to requests that have no options.

    Raises:
        InputError: the model knows no chat.
    """

    def prompt(question: Question) -> str:
        return engine.render(
            [{"role": "system", "content": instruction}, {"role": "question", "content": question.question}]
        )

    return [_item(request, prompt, NO_ANSWER_TOKENS, engine, max_new_tokens) for request in requests]


def prepare_few_shot(
    questions: Sequence[Question],
    demonstrations: Sequence[Question],
    benchmark: Benchmark,
    style: PromptStyle,
    engine: Engine,
) -> list[Item]:
    """Items in plain text, for a base model: demonstrations, then the question.

    Raises:
        InputError: the demonstrations alone don't fit the model, or its tokenizer can't tell the options apart.
    """
    starts = {label: f" {answer_start(label, benchmark, style)}" for label in benchmark.labels}
    answers = _answer_tokens(ANSWER_CUE, starts, benchmark, engine)

    def prompt(question: Question) -> str:
        return few_shot_text(question, demonstrations, benchmark, style)

    items = [_item(question, prompt, answers, engine, start=engine.start) for question in questions]
    if items and not any(item.tokens for item in items):
        raise InputError(
            f"{benchmark.name}: {len(demonstrations)} demonstrations leave no room for any question in the model's "
            f"{engine.max_length} tokens; lower few_shot.shots"
        )
    return items


def _item(
    question: Question,
    prompt: Callable[[Question], str],
    answers: AnswerTokens,
    engine: Engine,
    room: int = 0,
    start: tuple[int, ...] = (),
) -> Item:
    """The item of a question, shortened where prompt and a reply of `room` tokens would be too long for the model."""

    def tokens(question: Question) -> tuple[int, ...]:
        return (*start, *engine.encode(prompt(question)), *answers.opening)

    def length(question: Question) -> int:
        return len(tokens(question))

    whole = tokens(question)
    if engine.max_length is None or len(whole) <= engine.max_length - room:
        return Item(question, prompt(question), whole, answers, shortened=False)
    limit = engine.max_length - room
    shorter = shorten_context(question, length, limit) or shorten_question(question, length, limit)
    if shorter is None:
        return Item(question, prompt(question), (), answers, shortened=True)
    return Item(shorter, prompt(shorter), tokens(shorter), answers, shortened=True)


def answer_tokens(benchmark: Benchmark, style: PromptStyle, engine: Engine) -> AnswerTokens:
    """Find the tokens by which answers to a benchmark differ, behind the opening of an answer turn.

    Raises:
        InputError: the tokenizer can't tell the options apart by one token.
    """
    starts = {label: answer_start(label, benchmark, style) for label in benchmark.labels}
    return _answer_tokens(engine.render([{"role": "question", "content": ""}]), starts, benchmark, engine)


def _answer_tokens(before: str, starts: Mapping[str, str], benchmark: Benchmark, engine: Engine) -> AnswerTokens:
    """The tokens of `starts` (label → how its answer begins) where they will stand, behind `before`.

    Tokenizers write a letter differently at the start of a text, after a space and after a newline.
    """
    prompt = engine.encode(before)
    tokens = {}
    for label, start in starts.items():
        whole = engine.encode(before + start)
        if whole[: len(prompt)] != prompt:
            raise InputError(f"the tokenizer joins the answer {label!r} with the prompt before it; can't evaluate")
        tokens[label] = tuple(whole[len(prompt) :])
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
