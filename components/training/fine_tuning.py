"""What fine-tuning's settings make of the conversations."""

from __future__ import annotations

import math
from pathlib import Path

from components.training.batch_sizes import BatchSizes
from components.training.data.sft import ConversationData, PackedConversationData
from components.training.settings import SftSettings


def conversation_data(folder: Path, settings: SftSettings) -> ConversationData:
    """The samples, of one conversation or of several; raises as they do."""
    kind = PackedConversationData if settings.packing else ConversationData
    return kind(folder, settings.sequence_length, settings.seed, settings.prompt_weight)


def fine_tuning_iterations(settings: SftSettings, samples: int) -> int:
    """Optimizer steps over `samples` samples, as often as `epochs` says."""
    return settings.train_iters or BatchSizes(settings).batches(math.ceil(settings.epochs * samples))
