"""Several conversations in one sample."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable


def pack(numbers: Iterable[int], length: Callable[[int], int], capacity: int) -> list[list[int]]:
    """Put items into packs of at most `capacity`, each into the fullest that has room for it: best fit decreasing.

    It needs at most 11/9 of the fewest packs possible (Johnson et al. 1974), and how many depends on the lengths only,
    so that it is the same in every epoch.

    Args:
        numbers: items; among those of one length, the order decides which share a pack.
        length: of an item, at most `capacity`.
        capacity: in the same unit.
    """
    packs: list[list[int]] = []
    room: list[tuple[int, int]] = []  # what is left in each pack, ascending, and the pack's number
    for number in sorted(numbers, key=length, reverse=True):
        fullest = bisect_left(room, (length(number), 0))
        if fullest == len(room):
            packs.append([])
            left, index = capacity, len(packs) - 1
        else:
            left, index = room.pop(fullest)
        packs[index].append(number)
        insort(room, (left - length(number), index))
    return packs
