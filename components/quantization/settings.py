"""Settings of the quantization stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, field_validator, model_validator

from components.platform.questions.benchmark import BenchmarkNames, load_benchmark
from components.platform.questions.prompt import PromptStyle
from components.platform.settings import Settings

SPLIT = "train"
"""The split of a benchmark that calibrates; what is scored is never seen."""

Format = Literal["compressed-tensors", "gemm"]


class Gate(Settings):
    """How far the quantized model may be from the original; beyond that the stage fails."""

    max_kl_per_token: NonNegativeFloat = Field(default=0.1, description="KL divergence from the original, nats")
    min_top1_agreement: float = Field(
        default=0.9, ge=0, le=1, description="share of positions where both find the same token likeliest"
    )
    max_perplexity_increase: NonNegativeFloat = Field(default=0.05, description="as a share of the original's")


class ModelSettings(Settings):
    """AWQ (Lin et al., 2023, arXiv 2306.00978) with 4-bit asymmetric weights and 16-bit activations.

    All that decides what the quantized model is, and what is measured of it.
    """

    group_size: PositiveInt = Field(
        default=128, description="neighbouring input weights that share a scale and a zero point (AWQ, section 5.1)"
    )
    formats: tuple[Format, ...] = Field(
        default=("compressed-tensors", "gemm"),
        description="compressed-tensors: transformers and vLLM; gemm: AutoAWQ's, as the published meditron-70B-AWQ",
    )
    groups: tuple[str, ...] = Field(
        default=("guidelines", "papers", "abstracts"),
        min_length=1,
        description="corpus groups the documents come from, evenly; in-domain text calibrates best",
    )
    calibration_documents: PositiveInt = Field(
        default=128, description="training documents that show AWQ which channels matter"
    )
    calibration_conversations: NonNegativeInt = Field(
        default=32, description="conversations, as in fine-tuning, that show it too"
    )
    benchmarks: BenchmarkNames = Field(
        default=("pubmedqa", "medqa-4-option"),
        description="benchmarks whose training questions become conversations, evenly",
    )
    prompt_style: PromptStyle = Field(
        default="paper", description="as in fine-tuning: paper (instruction as system message) or code"
    )
    validation_documents: PositiveInt = Field(
        default=64, description="validation documents on which fidelity to the unquantized model is measured"
    )
    sequence_length: int = Field(default=512, ge=2, description="tokens used of each document, at most")
    seed: int = Field(default=0, description="which documents and questions are drawn")

    @field_validator("formats")
    @classmethod
    def _include_what_later_stages_load(cls, formats: tuple[Format, ...]) -> tuple[Format, ...]:
        if "compressed-tensors" not in formats:
            raise ValueError("compressed-tensors is missing: evaluation loads it, and the other is made from it")
        return formats

    @field_validator("benchmarks")
    @classmethod
    def _have_questions_for_training(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            benchmark = load_benchmark(name)
            if SPLIT not in benchmark.splits or benchmark.evaluation_split == SPLIT:
                raise ValueError(f"{name} has no {SPLIT} split apart from what it is scored on")
        return names

    @model_validator(mode="after")
    def _conversations_have_a_source(self) -> ModelSettings:
        if self.calibration_conversations and not self.benchmarks:
            raise ValueError("calibration_conversations are wanted, but no benchmarks are named")
        return self

    def source_patterns(self) -> list[str]:
        """Names or globs, below the data root, of all files that are read."""
        names = self.benchmarks if self.calibration_conversations else ()
        return [pattern for name in names for pattern in load_benchmark(name).patterns(SPLIT)]


class QuantizationSettings(ModelSettings):
    """Settings of the quantization stage."""

    gate: Gate = Gate()

    def of_model(self) -> ModelSettings:
        """The part that the result depends on: another gate asks for no other model."""
        return ModelSettings(**self.model_dump(exclude={"gate"}))
