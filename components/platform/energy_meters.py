"""Counters of energy that hardware keeps: NVML's of an NVIDIA GPU, and RAPL's of processors and memory."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")
MILLIJOULES, MICROJOULES = 1e-3, 1e-6
_PACKAGE = re.compile(r"intel-rapl:\d+")  # AMD's, too, are called so
_PART = re.compile(r"intel-rapl:\d+:\d+")


class GpuMeter:
    """Joules that a GPU has drawn since the meter was made: nvmlDeviceGetTotalEnergyConsumption, Volta and newer."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        self._first = self._counter()

    @classmethod
    def open(cls, uuid: str) -> GpuMeter | None:
        """The meter of the GPU with this UUID ("GPU-..."); None where nothing is counted: no driver, or an old GPU."""
        try:
            import pynvml
        except ImportError:
            return None
        try:
            pynvml.nvmlInit()
            return cls(pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid))
        except pynvml.NVMLError:
            return None

    def joules(self) -> float:
        return (self._counter() - self._first) * MILLIJOULES

    def _counter(self) -> int:
        return self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)


class CpuMeter:
    """Joules that this machine's processors and their memory have drawn since the meter was made.

    The counters start again at zero when they are full, every ten minutes or so: `update` in between.
    """

    def __init__(self, domains: list[Path]) -> None:
        self._domains = {domain: _number(domain / "energy_uj") for domain in domains}
        self._ranges = {domain: _number(domain / "max_energy_range_uj") for domain in domains}
        self._total = 0

    @classmethod
    def open(cls) -> CpuMeter | None:
        """None where nothing is counted, or this user may not read it (Linux reserves it to root since 5.10)."""
        try:
            domains = [domain for domain in sorted(POWERCAP.iterdir()) if _counts(domain)]
            return cls(domains) if domains else None
        except OSError:
            return None

    def update(self) -> None:
        for domain, before in self._domains.items():
            now = self._domains[domain] = _number(domain / "energy_uj")
            self._total += now - before if now >= before else now + self._ranges[domain] - before

    def joules(self) -> float:
        self.update()
        return self._total * MICROJOULES


def _counts(domain: Path) -> bool:
    """Whether it is a processor or memory: a processor's cores are counted with it, and a whole system's with all."""
    if not (_PACKAGE.fullmatch(domain.name) or _PART.fullmatch(domain.name)):
        return False
    name = (domain / "name").read_text(encoding="ascii").strip()
    return name == "dram" or name.startswith("package")


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
