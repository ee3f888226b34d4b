"""How many parameters a model has, wherever they are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import nn

from components.training.models.common.config import ModelConfig
from components.training.process import Process


def count_parameters(parameters: Mapping[str, nn.Parameter], config: ModelConfig, process: Process) -> int:
    """Parameters of the whole model (vocabulary padding included); every rank must call it.

    Args:
        parameters: this rank's slices, with `partition_dim` on those that are split over the tensor group.
    """
    layout = process.layout
    # The last stage's head may be a copy of the first stage's embedding.
    copies = config.weight_names.vocabulary if config.tie_word_embeddings and not layout.is_first_stage else ()
    own = sum(
        parameter.numel()
        for name, parameter in parameters.items()
        if name not in copies and (layout.tensor_rank == 0 or hasattr(parameter, "partition_dim"))
    )
    count = torch.tensor(own if layout.data_rank == 0 else 0, dtype=torch.int64, device=process.device)
    dist.all_reduce(count)
    return int(count)
