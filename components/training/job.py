"""What a training job is told: everything its ranks need, as one JSON file."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from components.platform.manifest import METRICS_NAME, USAGE_NAME
from components.platform.settings import Settings
from components.training.settings import PretrainSettings, SftSettings

CHECKPOINTS_FOLDER, MODEL_FOLDER, METRICS_FILE, USAGE_FILE = "checkpoints", "model", METRICS_NAME, USAGE_NAME
SKIPPED_FILE = ".skipped.json"  # hidden names are not part of an artifact


class CorpusSource(Settings):
    """Tokenized groups of a corpus: path of each indexed dataset without its suffix, and the mixture."""

    prefixes: dict[str, Path]
    weights: dict[str, float]


class ConversationSource(Settings):
    """A folder of tokenized conversations."""

    folder: Path


class Validation(Settings):
    """Held-out groups (paths as in `CorpusSource`), how much of them to look at, and how often."""

    prefixes: dict[str, Path]
    num_samples: int
    interval: int = Field(description="iterations between validations")


class TrainingJob(Settings):
    """One run of the trainer."""

    name: str = Field(description="pretrain or sft, for progress lines")
    settings: PretrainSettings | SftSettings
    data: CorpusSource | ConversationSource
    validation: Validation | None = None
    train_iters: int = Field(description="optimizer steps")
    vocab_size: int = Field(description="rows of embedding and head: the larger of tokenizer's and base model's")
    base: Path = Field(description="Hugging Face folder to start from")
    tokenizer: Path = Field(description="tokenizer folder of the exported model")
    output: Path = Field(description="folder for metrics and the exported model")
    exit_duration_minutes: float | None = Field(None, description="each rank saves and leaves after so long")
    checkpoints: str | None = Field(None, description="S3 prefix for checkpoints; without it they go below `output`")
