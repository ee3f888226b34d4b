"""What is evaluated, how the questions are put, and what runs the model."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from components.platform.questions.benchmark import BenchmarkNames, load_benchmark
from components.platform.questions.prompt import PromptStyle
from components.platform.settings import Settings

Mode = Literal["top_token", "cot", "sc_cot", "few_shot"]


class FewShotSettings(Settings):
    """How a base model is shown what is wanted of it."""

    shots: int = Field(default=3, ge=1, description="demonstrations before each question (paper: 3 for 7B, 5 for 70B)")
    seeds: tuple[int, ...] = Field(
        default=(0, 1, 2), min_length=1, description="each draws one set of demonstrations for all questions"
    )

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is listed twice")
        return seeds


class VllmSettings(Settings):
    """A running vLLM server."""

    url: str = Field(
        pattern=r"^https?://",
        description="where its OpenAI-compatible API is, such as http://HOST:8000/v1. It has to serve the model that "
        "is evaluated, under the name of its label (--served-model-name). VLLM_API_KEY is sent if it is set",
    )
    timeout_seconds: float = Field(default=600, gt=0, description="how long one answer may take")


class EvaluationSettings(Settings):
    """Settings of the evaluation stage."""

    benchmarks: BenchmarkNames = Field(
        default=("pubmedqa", "medqa-4-option", "mmlu-medical"), min_length=1, description="what to evaluate on"
    )
    modes: tuple[Mode, ...] = Field(
        default=("top_token",),
        min_length=1,
        description="top_token: the most probable next token of all is the answer; cot: think step by step, greedily; "
        "sc_cot: several times at random, by majority; few_shot: top_token of a base model, after demonstrations",
    )
    prompt_style: PromptStyle = Field(
        default="paper", description="as in fine-tuning: paper (instruction as system message) or code"
    )
    max_items: int | None = Field(default=None, ge=1, description="questions per benchmark; null: all")
    seed: int = Field(default=0, description="chooses which questions max_items keeps, and draws the texts of sc_cot")
    max_new_tokens: int = Field(default=512, ge=1, description="cot, sc_cot: a text is cut off there")
    sc_samples: int = Field(default=5, ge=2, description="sc_cot: texts that vote on an answer")
    temperature: float = Field(default=0.8, gt=0, le=2, description="sc_cot: what logits are divided by")
    few_shot: FewShotSettings = FewShotSettings()
    refusals: bool = Field(
        default=False, description="also see what the model refuses of a small set of harmful and harmless requests"
    )
    engine: Literal["huggingface", "vllm"] = Field(
        default="huggingface", description="huggingface: transformers, here; vllm: a server that is running"
    )
    vllm: VllmSettings | None = Field(default=None, description="the server, where the engine is vllm")
    batch_size: int = Field(default=16, ge=1, description="sequences computed at once; vllm: requests in flight")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="huggingface: type of the weights in memory; auto: as they are stored"
    )

    @field_validator("modes")
    @classmethod
    def _each_once(cls, modes: tuple[Mode, ...]) -> tuple[Mode, ...]:
        if repeated := [mode for mode in modes if modes.count(mode) > 1]:
            raise ValueError(f"{repeated[0]} is listed twice")
        return modes

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.engine == "vllm" and self.vllm is None:
            raise ValueError("engine is vllm, but no server is named; add `vllm: {url: ...}`")
        if self.engine != "vllm" and self.vllm is not None:
            raise ValueError(f"a vllm server is named, but engine is {self.engine}; set `engine: vllm`")
        return self

    def splits(self) -> list[tuple[str, str]]:
        """Benchmark and split of all questions that are read, demonstrations included."""
        asked = [(name, load_benchmark(name).evaluation_split) for name in self.benchmarks]
        shown = self.benchmarks if "few_shot" in self.modes else ()
        return [*asked, *((name, load_benchmark(name).demonstration_split) for name in shown)]

    def source_patterns(self) -> list[str]:
        """Names or globs, below the data root, of all files that are read."""
        return [pattern for name, split in self.splits() for pattern in load_benchmark(name).patterns(split)]


class LabelledEvaluation(EvaluationSettings):
    """The settings of one evaluation and the name its model has in the results: all that decides what they say."""

    label: str = Field(min_length=1, description="the model's name in the results")
