"""Where the conversations of fine-tuning come from: benchmark questions, and JSON lines of messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from components.platform.chat import ROLES, Message, render
from components.platform.context import PlatformSettings
from components.platform.data import SourceFile, resolve
from components.platform.errors import InputError
from components.platform.questions.benchmark import Benchmark, load_benchmark
from components.platform.questions.prompt import PromptStyle, answered
from components.platform.questions.question import Question
from components.platform.questions.readers import read_questions
from components.platform.questions.sampling import sample
from components.platform.questions.shortening import shorten_context
from components.training.data.settings import BenchmarkPart, ConversationSettings


class Conversation(Protocol):
    """Something to learn from: turns that end with an answer."""

    source: str

    def messages(self) -> list[Message]: ...

    def shortened(self, length: Callable[[list[Message]], int], limit: int) -> Conversation | None:
        """A version whose length is at most `limit` and whose answers are whole, or None."""


@dataclass(frozen=True)
class QuestionConversation:
    """A benchmark question and its right answer."""

    question: Question
    benchmark: Benchmark
    style: PromptStyle

    @property
    def source(self) -> str:
        return self.benchmark.name

    def messages(self) -> list[Message]:
        return answered(self.question, self.benchmark, self.style)

    def shortened(self, length: Callable[[list[Message]], int], limit: int) -> QuestionConversation | None:
        """Only context is given up: a question without its beginning would teach guessing."""
        shorter = shorten_context(
            self.question, lambda question: length(replace(self, question=question).messages()), limit
        )
        return shorter and replace(self, question=shorter)


@dataclass(frozen=True)
class WrittenConversation:
    """A conversation given turn by turn; it has no part that can be left out."""

    source: str
    turns: tuple[Message, ...]

    def messages(self) -> list[Message]:
        return list(self.turns)

    def shortened(self, length: Callable[[list[Message]], int], limit: int) -> None:
        return None


def source_files(settings: ConversationSettings, platform: PlatformSettings) -> list[SourceFile]:
    """All files that the conversations are read from, sorted by name.

    Raises:
        InputError: one is missing.
    """
    found = [file for pattern in settings.conversations for file in resolve(platform, pattern)]
    for part in settings.benchmarks:
        found += _benchmark_files(part, platform)
    return sorted(set(found), key=lambda file: file.name)


def _benchmark_files(part: BenchmarkPart, platform: PlatformSettings) -> list[SourceFile]:
    """Files of a benchmark's split; none where an optional one is not there."""
    try:
        return load_benchmark(part.name).source_files(part.split, platform)
    except InputError:
        if part.optional:
            return []
        raise


def read_conversations(settings: ConversationSettings, platform: PlatformSettings) -> Iterator[Conversation]:
    """All conversations in a fixed order.

    Raises:
        InputError: a file is missing, or a record is not as it should be.
    """
    for part in settings.benchmarks:
        benchmark = load_benchmark(part.name)
        if not _benchmark_files(part, platform):
            print(f"sft  goes on without {part.name} ({part.split}): its files are not there", flush=True)
            continue
        questions = read_questions(benchmark, part.split, platform)
        for question in sample(questions, part.max_items, settings.seed):
            yield QuestionConversation(question, benchmark, settings.prompt_style)
    for pattern in settings.conversations:
        for file in resolve(platform, pattern):
            yield from _read_jsonl(file)


def _read_jsonl(file: SourceFile) -> Iterator[WrittenConversation]:
    with file.open() as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield WrittenConversation(file.name, _turns(f"{file.uri}:{number}", line))


def _turns(place: str, line: bytes) -> tuple[Message, ...]:
    try:
        record: Any = json.loads(line)
    except ValueError as error:  # also raised for bytes that are not UTF-8
        raise InputError(f"{place}: not valid JSON: {error}") from None
    turns = record.get("messages") if isinstance(record, dict) else None
    if not isinstance(turns, list) or not turns:
        raise InputError(f'{place}: expected {{"messages": [{{"role": ..., "content": ...}}, ...]}}')
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, dict) or not all(isinstance(turn.get(key), str) for key in ("role", "content")):
            raise InputError(f"{place}: message {number} needs `role` and `content`, both text")
    try:
        render(turns)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    if ROLES[turns[-1]["role"]] != "answer":
        raise InputError(f"{place}: the last message is a {turns[-1]['role']}; it must be the answer to learn")
    return tuple({"role": turn["role"], "content": turn["content"]} for turn in turns)
