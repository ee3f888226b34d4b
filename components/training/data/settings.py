"""What a model is fine-tuned on."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from components.platform.errors import SettingsError
from components.platform.questions.benchmark import load_benchmark
from components.platform.questions.prompt import PromptStyle
from components.platform.settings import Settings


class BenchmarkPart(Settings):
    """A split of a benchmark to learn from."""

    name: str = Field(description="benchmark, such as pubmedqa")
    split: str = Field(default="train", description="split of it; never the one that scores are reported on")
    max_items: int | None = Field(default=None, ge=1, description="take at most so many questions; null: all")
    optional: bool = Field(default=False, description="true: train without it where its files are not there")

    @model_validator(mode="after")
    def _is_for_training(self) -> BenchmarkPart:
        try:
            benchmark = load_benchmark(self.name)
        except SettingsError as error:
            raise ValueError(str(error)) from None
        if self.split == benchmark.evaluation_split:
            raise ValueError(f"{self.split} is what {self.name} is scored on; training on it makes the score worthless")
        if self.split not in benchmark.splits:
            raise ValueError(f"{self.name} has no split {self.split!r}; it has {', '.join(sorted(benchmark.splits))}")
        return self


class ConversationSettings(Settings):
    """Conversations for supervised fine-tuning, from benchmarks and from JSON lines."""

    benchmarks: tuple[BenchmarkPart, ...] = Field(default=(), description="benchmark splits to turn into conversations")
    conversations: tuple[str, ...] = Field(
        default=(),
        description='JSONL names or globs below the data root; each line {"messages": [{role, content}]}',
    )
    prompt_style: PromptStyle = Field(
        default="paper",
        description="paper: instruction as system message, (A) ...; code: all in the question, A. ...",
    )
    seed: int = Field(default=0, description="chooses which questions max_items keeps")

    @field_validator("benchmarks")
    @classmethod
    def _each_part_once(cls, parts: tuple[BenchmarkPart, ...]) -> tuple[BenchmarkPart, ...]:
        names = [(part.name, part.split) for part in parts]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{' '.join(repeated[0])} is listed twice")
        return parts

    @model_validator(mode="after")
    def _has_a_source(self) -> ConversationSettings:
        if not self.benchmarks and not self.conversations:
            raise ValueError("nothing to train on; name `benchmarks`, `conversations` or both")
        return self

    def source_patterns(self) -> list[str]:
        """Names or globs, below the data root, of all files that must be there."""
        wanted = [part for part in self.benchmarks if not part.optional]
        parts = [load_benchmark(part.name).patterns(part.split) for part in wanted]
        return [*self.conversations, *(pattern for patterns in parts for pattern in patterns)]
