"""Where the time goes: CPU seconds of each step, from which the rates in the report come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any


def summed(profiles: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """By step, the CPU seconds of all shards and the megabytes (10^6 characters) of text they worked on.

    Args:
        profiles: of each shard, `characters` of text and `cpu_seconds` by step.
    """
    seconds, characters = Counter[str](), Counter[str]()
    for profile in profiles:
        seconds.update(profile["cpu_seconds"])
        characters.update(dict.fromkeys(profile["cpu_seconds"], profile["characters"]))
    return {step: {"cpu_seconds": seconds[step], "megabytes": characters[step] / 1e6} for step in seconds}
