"""What a training run takes: devices, time and energy, over all its starts, in `usage.json`."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

import torch
import torch.distributed as dist

from components.platform.energy import Usage
from components.platform.energy_meters import CpuMeter, GpuMeter
from components.platform.storage import write_atomically
from components.training.process import Process


def read_usage(path: Path) -> list[Usage]:
    """The starts of a run; none when the file is absent."""
    return [Usage(**row) for row in json.loads(path.read_text(encoding="utf-8"))] if path.is_file() else []


class UsageLog:
    """One rank's share in the account of this start. What a rank that is killed used since the last `note` is lost."""

    def __init__(self, path: Path, process: Process) -> None:
        self._path, self._process = path, process
        self._earlier = read_usage(path) if process.is_main else []
        self._started = perf_counter()
        self._gpu = _gpu_meter(process.device)
        self._speaks_for_machine = os.environ.get("LOCAL_RANK", "0") == "0"
        self._cpu = CpuMeter.open() if self._speaks_for_machine else None

    def update(self) -> None:
        """To be called every few minutes."""
        if self._cpu:
            self._cpu.update()

    def note(self) -> None:
        """Write down what this start has taken so far; all ranks must call it."""
        gpu = self._gpu.joules() if self._gpu else math.nan
        cpu = self._cpu.joules() if self._cpu else math.nan
        shares = [gpu, cpu if self._speaks_for_machine else 0.0, float(self._speaks_for_machine)]
        sums = torch.tensor(shares, dtype=torch.float64, device=self._process.device)
        dist.all_reduce(sums)  # one rank without a meter makes the sum no number
        gpu_joules, cpu_joules, machines = sums.tolist()
        if not self._process.is_main:
            return
        device = self._process.device
        is_gpu = device.type == "cuda"
        usage = Usage(
            device=torch.cuda.get_device_name(device) if is_gpu else "machine",
            devices=self._process.layout.world_size if is_gpu else round(machines),
            seconds=perf_counter() - self._started,
            gpu_joules=None if math.isnan(gpu_joules) else gpu_joules,
            cpu_joules=None if math.isnan(cpu_joules) else cpu_joules,
        )
        write_atomically(self._path, json.dumps([asdict(start) for start in (*self._earlier, usage)], indent=1))


def _gpu_meter(device: torch.device) -> GpuMeter | None:
    if device.type != "cuda":
        return None
    return GpuMeter.open(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
