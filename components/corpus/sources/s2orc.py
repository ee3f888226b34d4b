"""Semantic Scholar's bulk full text (`s2orc`): one string per paper, and annotations that say which part is what.

Each annotation is null or a list of `{start, end, attributes?}`, itself a JSON string; offsets count characters.
Later kinds of `PRIORITY` win where spans overlap (the released `pubmed/process.py`). Unlike that
script, nothing is dropped because it stands before the first heading or after the first figure.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import replace
from typing import Any

import orjson

from components.corpus import licence, markup
from components.corpus.sources import files
from components.corpus.sources.document import (
    Document,
    RejectedError,
    content,
    mapping,
    optional,
    s2_identifiers,
)
from components.corpus.spans import Span, merge

PRIORITY = (
    "front",  # ours: what stands before the first annotated paragraph
    "author",
    "authorfirstname",
    "authorlastname",
    "authoraffiliation",
    "publisher",
    "venue",
    "title",
    "table",
    "bibentry",
    "formula",
    "sectionheader",
    "bibref",
    "figureref",
    "tableref",
    "figure",
)
DROPPED = frozenset(PRIORITY[: PRIORITY.index("bibentry") + 1])
LOOKED_UP = ("abstract", "paragraph", "bibtitle", "bibauthorlastname", "figurecaption")

records = files.lines


def parse(payload: bytes) -> Document:
    """One paper, formatted with marks (see `markup`).

    Raises:
        RejectedError: the line is no such record, its text is empty, or a span lies outside its text.
    """
    row = files.json_object(payload)
    body = mapping(row, "content")
    paper = Paper(content(body, "text"), mapping(body, "annotations"))
    text = paper.formatted()
    if not text:
        raise RejectedError("empty_text", "nothing but authors, references and the like")
    source = mapping(body, "source")
    access = mapping(source, "oainfo") or mapping(body, "oainfo")
    return Document(
        title=optional(row, "title") or paper.title(),
        text=text,
        licence=licence.normalised(optional(access, "license")),
        **s2_identifiers(row, mapping(row, "externalids")),
    )


class Paper:
    """The text of one paper and its annotations."""

    def __init__(self, text: str, annotations: dict[str, Any]) -> None:
        self.text = text
        self.spans = {
            kind: _spans(annotations.get(kind), kind, PRIORITY.index(kind) if kind in PRIORITY else 0, len(text))
            for kind in (*PRIORITY[1:], *LOOKED_UP)
        }
        self._entries = {span.ref: span for span in self.spans["bibentry"] if span.ref}
        self._figures = {span.ref: span for span in self.spans["figure"] if span.ref}

    def title(self) -> str:
        """The first annotated title: what the PDF parser took for one, so a title from `papers` is better."""
        return " ".join(self._slice(self.spans["title"][0]).split()) if self.spans["title"] else ""

    def formatted(self) -> str:
        """The paper's text with headings, references, figures, tables and formulas marked."""
        spans = [self._front_matter(), *(span for kind in PRIORITY[1:] for span in self.spans[kind])]
        spans = [self._with_parentheses(span) if span.kind in REFERENCES else span for span in spans]
        parts: list[str] = []
        written: set[int] = set()  # a span that another one interrupts is written once
        in_dropped_section = False
        for start, end, span in merge(spans, len(self.text)):
            if span is not None and span.kind == "sectionheader":
                in_dropped_section = markup.is_dropped_section(self._slice(span))
            if in_dropped_section and (span is None or span.kind != "figure"):
                continue
            if span is None:
                parts.append(self.text[start:end].replace("•", "- "))
            elif span.kind in DROPPED:
                parts.append("\n")
            elif id(span) not in written:
                parts.append(FORMATS[span.kind](self, span))
                written.add(id(span))
        return markup.laid_out("".join(parts))

    def _front_matter(self) -> Span:
        """From the top to the first abstract, paragraph or heading: journal lines, keywords, affiliations.

        Where paragraphs are not annotated (older releases), nothing tells front matter from text, and all is kept.
        """
        marked = [span.start for kind in ("abstract", "paragraph") for span in self.spans[kind]]
        marked += [span.start for span in self.spans["sectionheader"]] if marked else []
        return Span(0, min(marked, default=0), "front", 0)

    def _with_parentheses(self, span: Span) -> Span:
        """Take a parenthesis that opens and closes within 3 characters of the reference into it."""
        opening = re.search(r"\(\s*$", self.text[max(0, span.start - 3) : span.start])
        closing = re.match(r"\s*\)", self.text[span.end : span.end + 3])
        unclosed = self._slice(span).count("(") - self._slice(span).count(")")
        # Only in pairs: of "(see [1])" or "(TTF-1) [2]" both parentheses belong to the sentence
        if (opening and unclosed < 0) or (opening and closing and unclosed == 0):
            span = replace(span, start=span.start - len(opening[0]))
            unclosed += 1
        if closing and unclosed > 0:
            span = replace(span, end=span.end + len(closing[0]))
        return span

    def _heading(self, span: Span) -> str:
        title = " ".join(self._slice(span).split())
        if title.isupper() and (len(title) > 5 or " " in title):
            title = title[0] + title[1:].lower()
        return markup.heading(title, markup.is_main_section(title))

    def _formula(self, span: Span) -> str:
        return markup.block("formula", self._slice(span))

    def _figure(self, span: Span) -> str:
        name, caption = self._name_and_caption(span)
        return markup.captioned("table" if (span.ref or "").startswith("tab") else "fig", name, caption)

    def _bib_ref(self, span: Span) -> str:
        entry = self._entries.get(span.ref)
        title = self._first_inside("bibtitle", entry)
        author = self._first_inside("bibauthorlastname", entry)
        if title:
            return f" {markup.bib_ref(title, author)} "
        # "(Smith et al., 2010)" says something by itself; "12" doesn't, but must not glue its neighbours together
        written = self._slice(span)
        return f" {written} " if re.search(r"[^\W\d]{2}", written) else " "

    def _fig_ref(self, span: Span) -> str:
        figure = self._figures.get(span.ref)
        reference = markup.fig_ref(*self._name_and_caption(figure)) if figure else ""
        return f" {reference} " if reference else self._slice(span)

    def _name_and_caption(self, figure: Span) -> tuple[str, str]:
        """ "Figure 1" and its caption. The annotated text reads "\\nFigure 1 .\\n1<caption>"; the "1" is a label."""
        caption = next(iter(_inside(self.spans["figurecaption"], figure)), None)
        if caption is None:
            body = next(iter(_inside(self.spans["table"], figure)), None)
            return "", self.text[figure.start : body.start if body else figure.end].strip()
        name = self.text[figure.start : caption.start].strip().split("\n")[0]
        return name.strip(" .:|"), self._slice(caption).strip()

    def _first_inside(self, kind: str, outer: Span | None) -> str:
        span = next(iter(_inside(self.spans[kind], outer)), None) if outer else None
        return " ".join(self._slice(span).split()) if span else ""

    def _slice(self, span: Span) -> str:
        return self.text[span.start : span.end]


REFERENCES = frozenset({"bibref", "figureref", "tableref"})
FORMATS = {
    "formula": Paper._formula,
    "sectionheader": Paper._heading,
    "bibref": Paper._bib_ref,
    "figureref": Paper._fig_ref,
    "tableref": Paper._fig_ref,
    "figure": Paper._figure,
}


def _spans(annotation: Any, kind: str, priority: int, length: int) -> list[Span]:
    """The spans of one kind, sorted by where they start.

    Raises:
        RejectedError: they are not a list of spans, or one is not within the text.
    """
    if annotation is None:
        return []
    try:
        entries = orjson.loads(annotation) if isinstance(annotation, str) else annotation
        spans = [_span(entry, kind, priority) for entry in entries or []]
    except (orjson.JSONDecodeError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise RejectedError("bad_annotation", f"annotations.{kind}: {error!r}") from None
    for span in spans:
        if not 0 <= span.start <= span.end <= length:
            raise RejectedError(
                "span_outside_text", f"annotations.{kind}: {span.start}..{span.end} of {length} characters"
            )
    return sorted(spans, key=lambda span: span.start)


def _span(entry: dict[str, Any], kind: str, priority: int) -> Span:
    attributes = entry.get("attributes") or {}
    ref = attributes.get("ref_id") or attributes.get("id")
    return Span(int(entry["start"]), int(entry["end"]), kind, priority, str(ref) if ref else None)


def _inside(spans: list[Span], outer: Span) -> list[Span]:
    """Of spans sorted by start, those within `outer`."""
    first = bisect_left(spans, outer.start, key=lambda span: span.start)
    last = bisect_left(spans, outer.end, lo=first, key=lambda span: span.start)
    return [span for span in spans[first:last] if span.end <= outer.end]
