"""The process groups of a layout."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import torch.distributed as dist

from components.training.parallel.layout import ParallelLayout


@dataclass(frozen=True)
class ProcessGroups:
    """This rank's groups. `tensor`: the shards of its layers. `data`: the ranks that hold the same shard."""

    tensor: dist.ProcessGroup
    data: dist.ProcessGroup


def make_groups(layout: ParallelLayout, timeout: timedelta) -> ProcessGroups:
    """Create the groups of a layout; every rank of the initialised world must call it.

    `timeout` bounds the wait in each of their collectives.
    """
    tensor, _ = dist.new_subgroups_by_enumeration(layout.tensor_groups(), timeout)
    data, _ = dist.new_subgroups_by_enumeration(layout.data_groups(), timeout)
    return ProcessGroups(tensor=tensor, data=data)
