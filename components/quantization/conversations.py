"""Conversations as in fine-tuning, from the benchmarks' training questions: the prompts that the model will see."""

from __future__ import annotations

import random
from itertools import islice
from typing import TYPE_CHECKING

from components.platform.chat import render
from components.platform.context import PlatformSettings
from components.platform.data import SourceFile
from components.platform.errors import InputError
from components.platform.questions.benchmark import Benchmark, load_benchmark
from components.platform.questions.prompt import answered
from components.platform.questions.question import Question
from components.platform.questions.readers import read_questions
from components.platform.questions.shortening import shorten_context
from components.quantization.settings import SPLIT, ModelSettings
from components.quantization.shares import even_shares

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


def source_files(settings: ModelSettings, platform: PlatformSettings) -> list[SourceFile]:
    """All files that the conversations are read from, sorted by name.

    Raises:
        InputError: one is missing.
    """
    names = settings.benchmarks if settings.calibration_conversations else ()
    found = {file for name in names for file in load_benchmark(name).source_files(SPLIT, platform)}
    return sorted(found, key=lambda file: file.name)


def draw_conversations(
    settings: ModelSettings, platform: PlatformSettings, tokenizer: PreTrainedTokenizerBase
) -> list[torch.Tensor]:
    """Training questions of the benchmarks with their answers, `calibration_conversations` of them.

    They are what fine-tuning made of them: a question whose context is too long has it shortened, and another is drawn
    in place of one that is too long without.

    Returns:
        Token ids, each of shape [tokens] with tokens ≤ `sequence_length`.

    Raises:
        InputError: a file is not as it should be, or the benchmarks have too few questions that fit.
    """
    key, wanted = "calibration_conversations", settings.calibration_conversations
    if not wanted:
        return []
    benchmarks = {name: load_benchmark(name) for name in settings.benchmarks}
    questions = {name: read_questions(benchmark, SPLIT, platform) for name, benchmark in benchmarks.items()}
    available = {name: len(of_benchmark) for name, of_benchmark in questions.items()}
    samples = []
    for name, share in even_shares(available, wanted, key, f"{SPLIT} questions").items():
        order = random.Random(f"{settings.seed} conversations {name}").sample(questions[name], available[name])
        fitting = (ids for q in order if (ids := _conversation(q, benchmarks[name], settings, tokenizer)) is not None)
        drawn = list(islice(fitting, share))
        if len(drawn) < share:
            raise InputError(
                f"quantization.{key}: {share} wanted of {name}, but only {len(drawn)} of its {available[name]} "
                f"questions fit sequence_length {settings.sequence_length}; raise it"
            )
        samples += drawn
    return samples


def _conversation(
    question: Question, benchmark: Benchmark, settings: ModelSettings, tokenizer: PreTrainedTokenizerBase
) -> torch.Tensor | None:
    """A question and its answer as tokens; None where it doesn't fit."""

    def encode(version: Question) -> torch.Tensor:
        text = render(answered(version, benchmark, settings.prompt_style))
        return tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"][0]

    ids = encode(question)
    if len(ids) <= settings.sequence_length:
        return ids
    shorter = shorten_context(question, lambda version: len(encode(version)), settings.sequence_length)
    return None if shorter is None else encode(shorter)
