"""What both programs are given: a random Llama, and questions from the real files in both programs' form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from components.corpus.tokenizer import save_trained, trained
from components.evaluation.engine.huggingface import HuggingFaceEngine
from components.evaluation.lm_eval.tasks import write_tasks
from components.evaluation.settings import EvaluationSettings
from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.questions.benchmark import load_benchmark
from components.platform.questions.readers import read_questions
from components.platform.quiet import stderr_only_on_failure

BENCHMARKS = ("pubmedqa", "medqa-4-option", "mmlu-medical")


@dataclass(frozen=True)
class Shape:
    """Sizes of the Llama.

    Attributes:
        tokens: the tokenizer's vocabulary, which decides how long prompts are.
        vocabulary: rows of the output head; those beyond `tokens` cost what any other costs.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    tokens: int
    vocabulary: int

    @property
    def head(self) -> int:
        """Weights of the output head."""
        return self.vocabulary * self.hidden

    @property
    def layer_weights(self) -> int:
        """Weights of all layers' matrices."""
        return self.layers * (4 * self.hidden**2 + 3 * self.hidden * self.intermediate)

    @property
    def parameters(self) -> int:
        return self.layer_weights + 2 * self.head + (2 * self.layers + 1) * self.hidden

    @property
    def head_share(self) -> float:
        """Of the arithmetic per token, attention's own left out, where the head is applied to every token."""
        return self.head / (self.head + self.layer_weights)


@dataclass(frozen=True)
class Inputs:
    """One case's inputs on disk.

    Attributes:
        model: Hugging Face folder.
        tasks: what lm-eval reads.
        questions: in all tasks.
        prompt_tokens: in all prompts together.
        folder: for whatever a run leaves.
    """

    shape: Shape
    settings: EvaluationSettings
    platform: PlatformSettings
    model: Path
    tasks: Path
    questions: int
    prompt_tokens: int
    folder: Path


def make_inputs(shape: Shape, data: Path, questions: int, batch_size: int, folder: Path) -> Inputs:
    """Make the model and write the tasks, with at most `questions` of each benchmark below the data root `data`."""
    tracking = TrackingSettings(uri="sqlite:///unused.db")
    platform = PlatformSettings(data=str(data), workspace=str(folder), tracking=tracking)
    settings = EvaluationSettings(benchmarks=BENCHMARKS, max_items=questions, batch_size=batch_size)
    model, tasks = folder / "model", folder / "tasks"
    _make_tokenizer(shape, platform, model)
    _make_model(shape, model)
    engine = HuggingFaceEngine(model)
    written = write_tasks(settings, platform, engine, tasks)
    contexts = [json.loads(line)["context"] for file in tasks.glob("*.jsonl") for line in file.open(encoding="utf-8")]
    tokens = sum(len(engine.encode(context)) for context in contexts)
    return Inputs(shape, settings, platform, model, tasks, sum(task.questions for task in written), tokens, folder)


def _make_tokenizer(shape: Shape, platform: PlatformSettings, folder: Path) -> None:
    texts = []
    for benchmark in map(load_benchmark, BENCHMARKS):
        for question in read_questions(benchmark, benchmark.evaluation_split, platform):
            texts += [question.context, question.question, *question.options.values()]
    tokenizer = trained(texts, shape.tokens)
    if tokenizer.get_vocab_size() > shape.vocabulary:
        raise ValueError(f"{tokenizer.get_vocab_size()} tokens don't fit a vocabulary of {shape.vocabulary}")
    save_trained(tokenizer, folder)


def _make_model(shape: Shape, folder: Path) -> None:
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        max_position_embeddings=2048,
    )
    torch.manual_seed(0)
    with stderr_only_on_failure():
        LlamaForCausalLM(config).save_pretrained(folder)
