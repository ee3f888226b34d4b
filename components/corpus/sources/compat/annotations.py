"""Annotations as Meditron's script reads them: what it skips a paper for, and where it gives up a search."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import orjson

from components.corpus.sources.compat.allowance import LOOK, Allowance
from components.corpus.sources.document import RejectedError

Entry = dict[str, Any]
Bounds = tuple[int, int]

MALFORMED = (TypeError, ValueError, LookupError, ArithmeticError)
"""What reading an annotation of another shape than expected raises; the script catches these, and all others."""


def entries(annotations: dict[str, Any], kind: str) -> list[Entry]:
    """The entries of a kind that the script needs.

    Raises:
        RejectedError: the kind is absent or not the JSON of a list; the script skips such papers.
    """
    if kind not in annotations:
        raise RejectedError("missing_field", f"annotations.{kind}: expected null, or JSON text")
    if not annotations[kind]:
        return []
    try:
        return list(orjson.loads(annotations[kind]))
    except MALFORMED as error:
        raise RejectedError("bad_annotation", f"annotations.{kind}: {error}") from None


def bounds(entry: Entry) -> Bounds:
    """Where an entry starts and ends.

    Raises:
        RejectedError: it does not say; the script skips such papers.
    """
    try:
        return int(entry["start"]), int(entry["end"])
    except MALFORMED as error:
        raise RejectedError("bad_annotation", f"expected spans with `start` and `end`: {error!r}") from None


def by_id(of_kind: list[Entry]) -> dict[str, Bounds]:
    """Where the entries lie, by their ids; of several with one id, the first.

    Reference fault: an entry without an id ends the search, so what comes after it is never found.
    """
    found: dict[str, Bounds] = {}
    for entry in of_kind:
        try:
            found.setdefault(entry["attributes"]["id"], bounds(entry))
        except MALFORMED:
            break
    return found


class Located:
    """Entries of a kind, found by where they lie. Those after a malformed one are never found.

    Reference fault: offsets written as text, as they were in early releases, are malformed here, but not in `bounds`.
    """

    def __init__(self, annotations: dict[str, Any], kind: str) -> None:
        self._spans: list[tuple[int, int, int]] = []
        try:
            for order, entry in enumerate(entries(annotations, kind)):
                start, end = entry["start"], entry["end"]
                if not (isinstance(start, int) and isinstance(end, int)):
                    break
                self._spans.append((start, end, order))
        except (RejectedError, *MALFORMED):
            pass  # here the script does not skip the paper: it goes without what it looked for
        self._spans.sort()

    def first_inside(self, outer: Bounds, allowance: Allowance) -> Bounds | None:
        """Of the entries within `outer`, the one that comes first in their list."""
        inside = []
        for number in range(bisect_left(self._spans, (outer[0],)), len(self._spans)):
            start, end, order = self._spans[number]
            if start > outer[1]:
                break
            allowance.take(LOOK)
            if end <= outer[1]:
                inside.append((order, start, end))
        return min(inside)[1:] if inside else None
