"""Drawing from several sources evenly."""

from __future__ import annotations

from collections.abc import Mapping

from components.platform.errors import InputError


def even_shares(available: Mapping[str, int], wanted: int, key: str, what: str) -> dict[str, int]:
    """How many of `wanted` come from each source: as even as their sizes allow.

    Args:
        key: the setting that says how many are wanted.
        what: what is drawn, for people.

    Raises:
        InputError: there are fewer.
    """
    if sum(available.values()) < wanted:
        counts = ", ".join(f"{name} {count}" for name, count in available.items())
        raise InputError(
            f"quantization.{key}: {wanted} wanted, but there are only {sum(available.values())} {what} ({counts}); "
            "lower it or name more sources"
        )
    shares = dict.fromkeys(available, 0)
    for _ in range(wanted):
        smallest = min((name for name in shares if shares[name] < available[name]), key=shares.__getitem__)
        shares[smallest] += 1
    return shares
