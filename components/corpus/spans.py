"""Overlapping annotations of a text, resolved into pieces that lie end to end."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

Span = tuple[int, int, int, str | None]
"""Characters start..end (exclusive) of a text, the span's rank, and what it refers to or is called.

Plain tuples: a paper has hundreds, and objects with names take most of the time that it takes to format one.
"""

Piece = tuple[int, int, Span | None]
"""Characters start..end (exclusive), and the span that they belong to, if any."""

by_start = itemgetter(0)


def merge(spans: Iterable[Span], length: int) -> Iterator[Piece]:
    """Cut a text of `length` characters into maximal pieces, one after the other.

    Where spans overlap, the highest rank has it; among equal ranks the span that begins last, then the last one given.
    One sweep from left to right: O(n log n) in the number of spans, whatever the length of the text, and hardly more
    than sorting where spans do not overlap.
    """
    ordered = sorted([span for span in spans if span[0] < span[1]], key=by_start)
    done, first, count = 0, 0, len(ordered)
    while first < count:
        span = ordered[first]
        start, end, after = span[0], span[1], first + 1
        while after < count and ordered[after][0] < end:
            end = max(end, ordered[after][1])
            after += 1
        if done < start:
            yield done, start, None
        if after == first + 1:
            yield start, end, span
        else:
            yield from _overlapping(ordered[first:after])
        done, first = end, after
    if done < length:
        yield done, length, None


def union(stretches: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The stretches (start, end) of a text that some stretches cover together; what touches or overlaps becomes one."""
    begin = end = -1
    for start, stop in sorted(stretches):
        if start > end:
            if end > begin:
                yield begin, end
            begin, end = start, stop
        elif stop > end:
            end = stop
    if end > begin:
        yield begin, end


def _overlapping(spans: Sequence[Span]) -> Iterator[Piece]:
    """Pieces of spans, sorted by start, that cover a stretch of text without a gap."""
    begin, owner = spans[0][0], None
    open_spans: list[tuple[int, int]] = []
    upcoming = 0
    for cut in sorted({cut for span in spans for cut in span[:2]}):
        while upcoming < len(spans) and spans[upcoming][0] <= cut:
            heapq.heappush(open_spans, (-spans[upcoming][2], -upcoming))
            upcoming += 1
        while open_spans and spans[-open_spans[0][1]][1] <= cut:
            heapq.heappop(open_spans)
        top = spans[-open_spans[0][1]] if open_spans else None
        if top is not owner:
            if owner is not None:
                yield begin, cut, owner
            begin, owner = cut, top
