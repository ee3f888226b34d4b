"""What is evaluated, and how the questions are put."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.platform.questions.benchmark import BenchmarkNames, load_benchmark
from components.platform.questions.prompt import PromptStyle
from components.platform.settings import Settings


class EvaluationSettings(Settings):
    """Settings of the evaluation stage."""

    benchmarks: BenchmarkNames = Field(
        default=("pubmedqa", "medqa-4-option", "mmlu-medical"), min_length=1, description="what to evaluate on"
    )
    mode: Literal["top_token"] = Field(
        default="top_token", description="top_token: the most probable next token of all is the answer"
    )
    prompt_style: PromptStyle = Field(
        default="paper", description="as in fine-tuning: paper (instruction as system message) or code"
    )
    max_items: int | None = Field(default=None, ge=1, description="questions per benchmark; null: all")
    seed: int = Field(default=0, description="chooses which questions max_items keeps")
    batch_size: int = Field(default=16, ge=1, description="prompts per forward pass")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="type of the weights in memory; auto: as they are stored"
    )

    def source_patterns(self) -> list[str]:
        """Names or globs, below the data root, of all files that are read."""
        benchmarks = [load_benchmark(name) for name in self.benchmarks]
        return [pattern for benchmark in benchmarks for pattern in benchmark.patterns(benchmark.evaluation_split)]


class LabelledEvaluation(EvaluationSettings):
    """The settings of one evaluation and the name its model has in the results: all that decides what they say."""

    label: str = Field(min_length=1, description="the model's name in the results")
