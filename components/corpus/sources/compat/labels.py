"""Which characters of a paper Meditron's script takes for what (`parse_article` in gap-replay/pubmed/process.py).

The script paints a label on every character, one kind of annotation after the other, then reads off runs of the same
label. Labels are those below, the id of what is referred to (`b0`, `fig_0`, `tab_0`), or that of a figure or table
in capitals (`FIG_0`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

import orjson

from components.corpus.sources.compat.annotations import MALFORMED, Bounds, Entry, bounds, entries
from components.corpus.spans import Span, merge

TEXT, DROPPED, HEADING, FORMULA = "T", "RM", "SEC", "FML"
UNRESOLVED = "b?"
PAINTED = {
    "authorfirstname": DROPPED,
    "authorlastname": DROPPED,
    "authoraffiliation": DROPPED,
    "bibentry": DROPPED,
    "formula": FORMULA,
    "sectionheader": HEADING,
    "bibref": None,
    "figureref": None,
    "tableref": None,
    "figure": None,
}
"""Kinds of annotations in the order in which they are painted, and their labels; None where each has its own."""

REACH = 3
"""How many characters before and after a reference may hold the parenthesis around it."""

Run = tuple[str, int, int]
"""A label, and the characters start..end (exclusive) that have it."""


def labelled(text: str, annotations: dict[str, Any]) -> Iterator[Run]:
    """Cut a text into runs of one label, from its first character to its last.

    Raises:
        RejectedError: an annotation is absent or malformed in a way that makes the script skip the paper.
    """
    spans: list[Span] = []
    for kind, label in PAINTED.items():
        for entry in entries(annotations, kind):
            own = label or _own_label(kind, entry)
            start, end = bounds(entry)
            if kind.endswith("ref"):
                start, end = _with_parentheses(text, start, end)
            # As Python and NumPy count: from the end where negative, no further than the text goes
            start, end, _ = slice(start, end).indices(len(text))
            if own is not None:
                spans.append((start, end, len(spans), own))
    for label, pieces in groupby(_pieces(text, spans, _header_end(annotations)), key=itemgetter(0)):
        run = list(pieces)
        yield label, run[0][1], run[-1][2]


def _own_label(kind: str, entry: Entry) -> str | None:
    """None: the script can't make sense of it and paints nothing."""
    try:
        if kind == "figure":
            figure, number = entry["attributes"]["id"].split("_")[:2]
            return f"{figure.upper()}_{number}"
        if "attributes" not in entry:
            return UNRESOLVED
        ref = entry["attributes"]["ref_id"]
    except (AttributeError, *MALFORMED):
        return None
    return ref if isinstance(ref, str) else DROPPED


def _with_parentheses(text: str, start: int, end: int) -> Bounds:
    """Reference fault: one parenthesis alone, or those of a sentence around, are taken into the reference too."""
    before, after = text[start - REACH : start], text[end : end + REACH]
    if "(" in before:
        start += before.index("(") - REACH
    if ")" in after:
        end += after.index(")") + 1
    return start, end


def _header_end(annotations: dict[str, Any]) -> int:
    """Where the abstract or the first heading begins, before which text is dropped; 0 where nothing is.

    Reference faults: a first section without a heading is dropped as well; the header of a paper without headings
    is not, even where its abstract is known.
    """
    try:
        abstract = annotations["abstract"]
        begin = int(orjson.loads(abstract)[0]["start"]) if abstract else 0
        headings = [int(heading["start"]) for heading in orjson.loads(annotations["sectionheader"])]
    except MALFORMED:
        return 0
    return min([*filter(None, [begin]), *headings], default=0)


def _pieces(text: str, spans: list[Span], header_end: int) -> Iterator[Run]:
    for start, end, span in merge(spans, len(text)):
        label = TEXT if span is None else span[3]
        if label == TEXT and start < header_end:
            yield DROPPED, start, min(end, header_end)
            start = header_end
        if start < end:
            yield label, start, end
