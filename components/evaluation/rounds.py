"""What an evaluation asks, in order: rounds of one benchmark in one mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from components.evaluation.demonstrations import choose_demonstrations
from components.evaluation.engine.interface import Engine
from components.evaluation.items import Item, prepare, prepare_few_shot, prepare_reasoning, prepare_requests
from components.evaluation.modes import chain_of_thought, refusals, top_token
from components.evaluation.modes.reply import Reply
from components.evaluation.refusals.requests import NAME as REFUSALS
from components.evaluation.refusals.requests import instruction, requests
from components.evaluation.settings import EvaluationSettings, Mode
from components.platform.context import PlatformSettings
from components.platform.questions.benchmark import Benchmark, load_benchmark
from components.platform.questions.question import Question
from components.platform.questions.readers import read_questions
from components.platform.questions.sampling import sample


@dataclass(frozen=True)
class Round:
    """Items whose prompts begin alike.

    Attributes:
        mode: one of the recipe's, or that of the refusal set.
        demonstrations: the seed that chose the demonstrations; None where there are none.
    """

    mode: Mode | Literal["refusals"]
    benchmark: str
    demonstrations: int | None
    items: Sequence[Item]

    @cached_property
    def shared(self) -> int:
        """Tokens at the start of all prompts that are the same; each keeps at least one of its own."""
        prompts = [item.tokens for item in self.items if item.tokens]
        if len(prompts) < 2:
            return 0
        first, last = min(prompts), max(prompts)  # whatever these two share, all between them do
        same = next((index for index, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
        return min(same, min(map(len, prompts)) - 1)

    def batches(self, batch_size: int) -> Iterator[list[Item]]:
        """Items of similar length together, longest first, so that running out of memory shows at once.

        Which items share a batch depends on nothing else, so a resumed run computes exactly what an unbroken one
        does.
        """
        fitting = sorted((item for item in self.items if item.tokens), key=_longest_first)
        yield from (fitting[start : start + batch_size] for start in range(0, len(fitting), batch_size))


def plan(settings: EvaluationSettings, platform: PlatformSettings, engine: Engine) -> list[Round]:
    """All rounds, mode by mode; reads the benchmarks, and needs no weights.

    Raises:
        InputError: a benchmark's file is missing or broken, or the model can't be asked so.
    """
    benchmarks = [load_benchmark(name) for name in settings.benchmarks]
    questions = [read_questions(benchmark, benchmark.evaluation_split, platform) for benchmark in benchmarks]
    planned = [
        round_
        for mode in settings.modes
        for benchmark, own in zip(benchmarks, questions, strict=True)
        for round_ in _rounds(mode, benchmark, own, settings, platform, engine)
    ]
    if settings.refusals:
        items = prepare_requests(requests(), instruction(), engine, refusals.reply_tokens(settings.max_new_tokens))
        planned.append(Round(REFUSALS, REFUSALS, None, items))
    return planned


def answer(round_: Round, items: Sequence[Item], engine: Engine, settings: EvaluationSettings) -> list[Reply]:
    """One reply per item of a batch."""
    if round_.mode in ("top_token", "few_shot"):
        return top_token.answer(items, engine, round_.shared)
    if round_.mode == REFUSALS:
        return refusals.answer(items, engine, refusals.reply_tokens(settings.max_new_tokens), round_.shared)
    samples, temperature = (1, 0.0) if round_.mode == "cot" else (settings.sc_samples, settings.temperature)
    return chain_of_thought.answer(
        items, engine, samples, temperature, settings.max_new_tokens, settings.seed, round_.shared
    )


def prompts_at_once(mode: str, settings: EvaluationSettings) -> int:
    """Items of a batch: each takes as many sequences as texts are drawn for it."""
    return max(1, settings.batch_size // settings.sc_samples) if mode == "sc_cot" else settings.batch_size


def _rounds(
    mode: Mode,
    benchmark: Benchmark,
    questions: Sequence[Question],
    settings: EvaluationSettings,
    platform: PlatformSettings,
    engine: Engine,
) -> Iterator[Round]:
    name, style = benchmark.name, settings.prompt_style
    asked = sample(questions, settings.max_items, settings.seed)
    if mode == "top_token":
        yield Round(mode, name, None, prepare(asked, benchmark, style, engine))
    elif mode == "few_shot":
        candidates = read_questions(benchmark, benchmark.demonstration_split, platform)
        for seed in settings.few_shot.seeds:
            shown = choose_demonstrations(candidates, questions, settings.few_shot.shots, seed)
            yield Round(mode, name, seed, prepare_few_shot(asked, shown, benchmark, style, engine))
    else:
        yield Round(mode, name, None, prepare_reasoning(asked, benchmark, style, engine, settings.max_new_tokens))


def _longest_first(item: Item) -> tuple[int, str]:
    return -len(item.tokens), item.question.id
