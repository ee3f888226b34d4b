"""How much memory this process may still take, in a container too."""

from __future__ import annotations

from pathlib import Path

SHARE_FOR_WEIGHTS = 0.8
"""Of what is free; the rest is for activations between layers and for files on their way to disk."""


def memory_for_weights(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of main memory that weights may take; what is beyond that lies on disk until it is needed.

    A container sees the whole machine's memory in `/proc`; what it may use of it stands in its control group.
    """
    free = _field(proc / "meminfo", "MemAvailable:") * 1024
    limit = cgroup / "memory.max"
    if limit.is_file() and (most := limit.read_text().strip()) != "max":
        free = min(free, int(most) - _field(cgroup / "memory.stat", "anon"))
    return int(max(free, 0) * SHARE_FOR_WEIGHTS)


def _field(table: Path, name: str) -> int:
    """The number beside a name in a file of names and numbers."""
    rows = (line.split() for line in table.read_text().splitlines())
    return next(int(row[1]) for row in rows if row[0] == name)
