"""One training process: its place in the world, its device, and its communication."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d

from components.training.flops import peak_flops
from components.training.parallel.groups import ProcessGroups, make_groups
from components.training.parallel.layout import ParallelLayout
from components.training.settings import LayoutSettings


@dataclass(frozen=True)
class Process:
    """What a rank needs to know about itself."""

    layout: ParallelLayout
    groups: ProcessGroups
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this rank speaks for all: it prints, and writes what is written once."""
        return self.layout.rank == 0

    def peak_flops(self, dtype: str) -> float | None:
        """FLOP/s of this rank's device at best; None where none is known: on a CPU, and in float32."""
        if self.device.type != "cuda" or dtype != "bf16":
            return None
        return peak_flops(torch.cuda.get_device_name(self.device))


def start_process(settings: LayoutSettings, timeout_minutes: float) -> Process:
    """Join the other ranks, as the environment set by torchrun describes them.

    `timeout_minutes` bounds each wait for another rank, so that a rank that died doesn't hold the others forever.

    Raises:
        ValueError: there are not as many processes as the layout needs.
    """
    world_size = int(os.environ["WORLD_SIZE"])
    if world_size != settings.world_size:
        raise ValueError(f"{world_size} processes were started, but {settings.for_rank(0)} needs {settings.world_size}")
    layout = settings.for_rank(int(os.environ["RANK"]))
    timeout = timedelta(minutes=timeout_minutes)
    _silence_deepspeed()
    _bound_waits(timeout)
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")
        torch.set_num_threads(1)  # ranks share the cores
    dist.init_process_group(
        backend="nccl" if device.type == "cuda" else "gloo",
        timeout=timeout,
        device_id=device if device.type == "cuda" else None,
    )
    return Process(layout, make_groups(layout, timeout), device)


def _bound_waits(timeout: timedelta) -> None:
    """Bound those groups, too, that DeepSpeed makes: it asks for none of their timeouts and gets torch's default."""
    distributed_c10d.default_pg_timeout = distributed_c10d.default_pg_nccl_timeout = timeout


def _silence_deepspeed() -> None:
    """Keep from the user what only DeepSpeed's developers can act on; its errors stay."""
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
