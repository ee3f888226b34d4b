"""One annotated paper, written with marks: headings, references, figures, tables and formulas.

Later kinds of `WRITTEN` win where spans overlap (the released `pubmed/process.py`). Unlike that script, nothing is
dropped because it stands before the first heading or after the first figure.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from itertools import chain, islice
from operator import itemgetter, le
from typing import Any

import orjson

from components.corpus import markup
from components.corpus.sources.document import RejectedError
from components.corpus.spans import Span, by_start, merge, union

DROPPED = (
    "author",
    "authorfirstname",
    "authorlastname",
    "authoraffiliation",
    "publisher",
    "venue",
    "title",
    "table",
    "bibentry",
)
WRITTEN = ("formula", "sectionheader", "bibref", "figureref", "tableref", "figure")
REFERENCES = frozenset({"bibref", "figureref", "tableref"})
LOOKED_UP = ("abstract", "paragraph", "bibtitle", "bibauthorlastname", "figurecaption")
RANKS = dict.fromkeys(DROPPED, 0) | {kind: rank for rank, kind in enumerate(WRITTEN, start=1)}
KINDS = frozenset({*RANKS, *LOOKED_UP})
HEADING, FIGURE = RANKS["sectionheader"], RANKS["figure"]

# Guards against spans that no paper has: thousands over the same characters, each of which would be written out
LONGEST_LOOKED_UP = 3000  # characters of a title or caption that is shortened anyway
SPANS_LOOKED_UP = 16  # titles that begin within one bibliography entry, before the one that also ends there
LARGEST_GROWTH, GROWTH_ALLOWED = 10, 100_000

Bounds = tuple[int, int]
_start, _end = itemgetter("start"), itemgetter("end")
_WORD = re.compile(r"[^\W\d]{2}")


class Annotated:
    """A text and where the spans of each kind lie in it.

    Works on whole lists where it can: a paper has hundreds of spans, and each step of Python for each of them shows.
    """

    def __init__(self, text: str, annotations: dict[str, Any]) -> None:
        """Decode the annotations.

        Raises:
            RejectedError: they are not lists of spans, or a span does not lie within the text.
        """
        self.text = text
        self._entries = {kind: _decoded(spans, kind) for kind, spans in annotations.items() if spans and kind in KINDS}
        entries = list(chain.from_iterable(self._entries.values()))
        try:
            starts, ends = list(map(_start, entries)), list(map(_end, entries))
            if not {*map(type, starts), *map(type, ends)} <= {int}:
                starts, ends = list(map(int, starts)), list(map(int, ends))
        except (TypeError, ValueError, LookupError, ArithmeticError) as error:
            raise RejectedError("bad_annotation", f"expected spans with `start` and `end`: {error!r}") from None
        if min(starts, default=0) < 0 or max(ends, default=0) > len(text) or not all(map(le, starts, ends)):
            raise RejectedError("span_outside_text", f"the text has {len(text)} characters")
        bounds = zip(starts, ends, strict=True)
        self._bounds = {kind: list(islice(bounds, len(of_kind))) for kind, of_kind in self._entries.items()}

    def bounds(self, kind: str) -> list[Bounds]:
        """Where the spans of one kind start and end, sorted."""
        return sorted(self._bounds.get(kind, ()))

    def spans(self, kind: str) -> list[Span]:
        """Spans of one kind with what they refer to, or their own ids; sorted by start.

        Raises:
            RejectedError: their attributes are not an object.
        """
        if kind not in self._entries:
            return []
        rank = RANKS[kind]
        try:
            refs = [_ref(entry.get("attributes") or {}) for entry in self._entries[kind]]
            spans = [(start, end, rank, ref) for (start, end), ref in zip(self._bounds[kind], refs, strict=True)]
        except (TypeError, AttributeError) as error:
            raise RejectedError("bad_annotation", f"annotations.{kind}: {error!r}") from None
        spans.sort(key=by_start)
        return spans

    def short(self, bounds: Bounds) -> str:
        """The text of a title, name or caption, as far as it may be needed."""
        return self.text[bounds[0] : min(bounds[1], bounds[0] + LONGEST_LOOKED_UP)]


def _decoded(annotation: Any, kind: str) -> list[Any]:
    try:
        entries = orjson.loads(annotation) if isinstance(annotation, str) else annotation
    except orjson.JSONDecodeError as error:
        raise RejectedError("bad_annotation", f"annotations.{kind}: {error}") from None
    if entries and not isinstance(entries, list):
        raise RejectedError("bad_annotation", f"annotations.{kind}: expected a list, found {type(entries).__name__}")
    return entries or []


def _ref(attributes: dict[str, Any]) -> str | None:
    ref = attributes.get("ref_id") or attributes.get("id")
    return str(ref) if ref else None


def first_inside(bounds: list[Bounds], outer: Span) -> Bounds | None:
    """The first of some sorted bounds that lies within a span."""
    first, end = bisect_left(bounds, outer[:1]), outer[1]
    for found in bounds[first : first + SPANS_LOOKED_UP]:
        if found[1] <= end and found[0] < end:
            return found
    return None


class Paper:
    """A paper's body and its bibliography, which in version 1 are one and the same text."""

    def __init__(self, body: Annotated, bibliography: Annotated | None = None) -> None:
        self._body, self._text = body, body.text
        self._bibliography = bibliography = bibliography or body
        self._headings, self._tables, self._captions = map(body.bounds, ("sectionheader", "table", "figurecaption"))
        self._titles, self._authors = map(bibliography.bounds, ("bibtitle", "bibauthorlastname"))
        self._figures = body.spans("figure")
        self._figure_of = {span[3]: span for span in self._figures if span[3]}
        self._entry_of = {span[3]: span for span in bibliography.spans("bibentry") if span[3]}
        self._room = LARGEST_GROWTH * len(self._text) + GROWTH_ALLOWED
        self._works: dict[str | None, str] = {}  # references as they are written, by id
        self._shown: dict[str | None, str] = {}

    def title(self) -> str:
        """The first annotated title: what the PDF parser took for one, so a title from `papers` is better."""
        titles = self._body.bounds("title")
        return " ".join(self._body.short(titles[0]).split()) if titles else ""

    def formatted(self) -> str:
        """The paper's text with marks.

        Raises:
            RejectedError: spans overlap so much that the text would grow out of bounds.
        """
        text, parts, in_dropped_section = self._text, [], False
        written: set[int] = set()  # a span that another one interrupts is written once
        for start, end, span in merge(self._spans(), len(text)):
            if span is None:
                if not in_dropped_section:
                    parts.append(text[start:end].replace("•", "- "))
                continue
            rank = span[2]
            if rank == HEADING:
                in_dropped_section = markup.is_dropped_section(text[span[0] : span[1]])
            if in_dropped_section and rank != FIGURE:
                continue
            if rank == 0:
                parts.append("\n")
            elif id(span) not in written:
                written.add(id(span))
                parts.append(WRITERS[rank](self, span))
        self._take(sum(map(len, parts)))
        return markup.laid_out("".join(parts))

    def _take(self, characters: int) -> None:
        """Count what is copied from the text: spans that all claim the same characters would copy it without end."""
        self._room -= characters
        if self._room < 0:
            raise RejectedError("spans_overlap", "annotated spans repeat the same text over and over")

    def _spans(self) -> list[Span]:
        dropped = [(0, self._front_matter())]
        for kind in DROPPED:
            dropped += self._body.bounds(kind)
        spans: list[Span] = [(start, end, 0, None) for start, end in union(dropped)]
        for kind in WRITTEN:
            spans += self._of_kind(kind)
        return spans

    def _of_kind(self, kind: str) -> Iterable[Span]:
        if kind == "figure":
            return self._figures
        if kind in REFERENCES:
            return map(self._with_parentheses, self._body.spans(kind))
        rank = RANKS[kind]
        return [(start, end, rank, None) for start, end in self._body.bounds(kind)]

    def _front_matter(self) -> int:
        """Where the first abstract, paragraph or heading begins; before it are journal lines, keywords, affiliations.

        Where paragraphs are not annotated (older releases), nothing tells front matter from text, and all is kept.
        """
        marked = [bounds[0][0] for kind in ("abstract", "paragraph") if (bounds := self._body.bounds(kind))]
        if marked and self._headings:
            marked.append(self._headings[0][0])
        return min(marked, default=0)

    def _with_parentheses(self, span: Span) -> Span:
        """Take a parenthesis that opens and closes within 3 characters of the reference into it."""
        text, (start, end, rank, ref) = self._text, span
        before, after = text[max(0, start - 3) : start], text[end : end + 3]
        if "(" not in before and ")" not in after:
            return span
        opening, closing = before.rstrip().endswith("("), after.lstrip().startswith(")")
        covered = self._text[start:end]
        unclosed = covered.count("(") - covered.count(")")
        # Only in pairs: of "(see [1])" or "(TTF-1) [2]" both parentheses belong to the sentence
        if opening and (unclosed < 0 or (closing and unclosed == 0)):
            start = self._text.rindex("(", 0, start)
            unclosed += 1
        if closing and unclosed > 0:
            end = self._text.index(")", end) + 1
        return start, end, rank, ref

    def _heading(self, span: Span) -> str:
        title = " ".join(self._slice(span).split())
        if title.isupper() and (len(title) > 5 or " " in title):
            title = title[0] + title[1:].lower()
        return markup.heading(title, markup.is_main_section(title))

    def _formula(self, span: Span) -> str:
        return markup.block("formula", self._slice(span))

    def _figure(self, span: Span) -> str:
        return markup.captioned("table" if (span[3] or "").startswith("tab") else "fig", *self._captioned(span))

    def _bib_ref(self, span: Span) -> str:
        ref = span[3]
        work = self._works.get(ref)
        if work is None:
            work = self._works[ref] = self._work(self._entry_of[ref]) if ref in self._entry_of else ""
        if work:
            return work
        # "(Smith et al., 2010)" says something by itself; "12" doesn't, but must not glue its neighbours together
        written = self._slice(span)
        return f" {written} " if _WORD.search(written) else " "

    def _work(self, entry: Span) -> str:
        title, author = first_inside(self._titles, entry), first_inside(self._authors, entry)
        if title is None or not (words := self._bibliography.short(title).strip()):
            return ""
        return f" {markup.bib_ref(words, self._bibliography.short(author) if author else '')} "

    def _fig_ref(self, span: Span) -> str:
        ref = span[3]
        if ref not in self._shown:
            figure = self._figure_of.get(ref)
            reference = markup.fig_ref(*self._captioned(figure, LONGEST_LOOKED_UP)) if figure else ""
            self._shown[ref] = f" {reference} " if reference else ""
        return self._shown[ref] or self._slice(span)

    def _captioned(self, figure: Span, longest: int | None = None) -> tuple[str, str]:
        """ "Figure 1" and its caption. The annotated text reads "\\nFigure 1 .\\n1<caption>"; the "1" is a label."""
        caption = first_inside(self._captions, figure)
        if caption is None:
            body = first_inside(self._tables, figure)
            return "", self._slice((figure[0], body[0] if body else figure[1]))[:longest].strip()
        name = self._slice((figure[0], caption[0]))[:longest].strip().split("\n")[0]
        return name.strip(" .:|"), self._slice(caption)[:longest].strip()

    def _slice(self, bounds: Span | Bounds) -> str:
        self._take(bounds[1] - bounds[0])
        return self._text[bounds[0] : bounds[1]]


WRITERS = (
    None,
    Paper._formula,
    Paper._heading,
    Paper._bib_ref,
    Paper._fig_ref,
    Paper._fig_ref,
    Paper._figure,
)
"""By rank, what writes a span."""
