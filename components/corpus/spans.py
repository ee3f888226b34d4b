"""Overlapping annotations of a text, resolved into pieces that lie end to end."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """Characters start..end (exclusive) of a text are `kind`; where spans overlap, the highest `priority` has it."""

    start: int
    end: int
    kind: str
    priority: int
    ref: str | None = None


def merge(spans: Sequence[Span], length: int) -> Iterator[tuple[int, int, Span | None]]:
    """Cut a text of `length` characters into maximal pieces (start, end, span it belongs to, or None).

    One sweep from left to right over the ends of all spans: O(n log n) in the number of spans and independent of the
    length of the text. Among equal priorities the later span in `spans` wins.
    """
    order = sorted(range(len(spans)), key=lambda i: spans[i].start)
    cuts = sorted({0, length} | {cut for span in spans for cut in (span.start, span.end)})
    open_spans: list[tuple[int, int]] = []
    upcoming, begin, owner = 0, 0, None
    for cut in cuts:
        while upcoming < len(order) and spans[order[upcoming]].start <= cut:
            index = order[upcoming]
            heapq.heappush(open_spans, (-spans[index].priority, -index))
            upcoming += 1
        while open_spans and spans[-open_spans[0][1]].end <= cut:
            heapq.heappop(open_spans)
        top = spans[-open_spans[0][1]] if open_spans else None
        if top is not owner:
            if cut > begin:
                yield begin, cut, owner
            begin, owner = cut, top
    if length > begin:
        yield begin, length, owner
