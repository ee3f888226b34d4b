"""The text of a JATS article: sections, paragraphs, lists, references, figures, tables and formulas."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from components.corpus import markup
from components.corpus.sources import xml
from components.corpus.sources.document import RejectedError

# fmt: off
DROPPED = frozenset({
    "ack", "alt-text", "attrib", "bio", "fn", "fn-group", "graphic", "inline-supplementary-material", "label",
    "long-desc", "media", "notes", "object-id", "permissions", "processing-meta", "ref-list", "related-article",
    "related-object", "sec-meta", "sig-block", "supplementary-material", "table", "table-wrap-foot", "title",
})
FLOATS = {"fig": "fig", "table-wrap": "table"}
CONTAINERS = frozenset({
    "abstract", "alternatives", "app", "app-group", "body", "boxed-text", "def-item", "def-list",
    "disp-formula-group", "disp-quote", "fig-group", "floats-group", "glossary", "list", "sec", "speech",
    "statement", "table-wrap-group", "verse-group",
})
# fmt: on
# Of a work in the reference list, best first
TITLES = ("article-title", "chapter-title", "data-title", "source")
AUTHORS = ("surname", "collab")
MOST_REFERENCE_CHARACTERS = 64_000_000
"""Of all references in one article: a few bytes name a work, of which a hundred characters are written."""

_TEX_BODY = re.compile(r"\\begin\{document\}(.*?)\\end\{document\}", re.S)
_LINE_BREAK = re.compile(r" *\n\s*")
_NAME = re.compile(r"[^\W\d]{2}")


class Article:
    """Writes the parts of one article; knows its reference list, figures and tables by id."""

    def __init__(self, article: xml.Element) -> None:
        self._references: dict[str, xml.Element] = {}
        self._floats: dict[str, xml.Element] = {}
        for node in article.iter("ref", *FLOATS):
            if rid := node.get("id"):
                (self._references if node.tag == "ref" else self._floats)[rid] = node
        # What was written once is needed again: a figure's caption where the figure is, and wherever it is referred to
        self._names: dict[xml.Element, tuple[str, str]] = {}
        self._bib_refs: dict[str, str] = {}
        self._fig_refs: dict[str, str] = {}
        self._reference_characters = 0
        self._waiting: list[str] = []  # figures found inside a paragraph, which come after it
        self._actions: xml.Actions = {
            **xml.PLAIN,
            **dict.fromkeys(DROPPED, _nothing),
            **dict.fromkeys([*CONTAINERS, "p"], self._inner_block),
            **dict.fromkeys(FLOATS, self._inner_float),
            "xref": self._reference,
            "disp-formula": self._displayed,
            "inline-formula": self._formula,
            "tex-math": self._formula,
        }

    def blocks(self, node: xml.Element, depth: int) -> str:
        """What stands in a section or other container, one part per line."""
        parts = [_stray(node.text)]
        for child in node:
            parts.append(self.block(child, depth) if xml.name(child) else xml.entity(child))
            parts.append(_stray(child.tail))
        return "".join(parts)

    def block(self, node: xml.Element, depth: int) -> str:
        """One part: a section with its heading, a list, a figure, a paragraph. `depth` 1 is a main section."""
        kind = xml.name(node)
        if kind == "p":
            return self._paragraph(node)
        if kind in DROPPED:
            return ""
        if kind in FLOATS:
            return self._float(node)
        if kind == "disp-formula":
            return self._displayed(node)
        if kind == "list":
            return "".join(self._item(item, depth) for item in node.iterchildren("list-item"))
        if kind == "def-item":
            return self._definition(node, depth)
        if kind in CONTAINERS:
            return self._container(node, depth)
        return self._paragraph(node)

    def _container(self, node: xml.Element, depth: int) -> str:
        title = xml.line(_child(node, "title"))
        if markup.is_dropped_section(title):
            return ""
        text = self.blocks(node, depth + 1 if title else depth)
        return markup.heading(title, main=depth == 1) + text if text.strip() else ""

    def _definition(self, node: xml.Element, depth: int) -> str:
        meaning = "".join(self.blocks(part, depth) for part in node.iterchildren("def")).strip()
        return ": ".join(part for part in (xml.line(_child(node, "term")), meaning) if part) + "\n"

    def _item(self, item: xml.Element, depth: int) -> str:
        text = self.blocks(item, depth).strip()
        return f"- {text}\n" if text else ""

    def _paragraph(self, node: xml.Element) -> str:
        text = xml.running(node, self._actions)
        if "\n" in text:
            text = _LINE_BREAK.sub("\n", text)
        text = text.strip()
        waiting, self._waiting = self._waiting, []
        return (f"{text}\n" if text else "") + "".join(waiting)

    def _inner_block(self, node: xml.Element) -> str:
        """A list, quotation or the like inside a paragraph."""
        waiting, self._waiting = self._waiting, []  # the inner paragraphs must not take the outer one's figures
        text = self.block(node, depth=3)
        self._waiting = waiting
        return f"\n{text}\n"

    def _inner_float(self, node: xml.Element) -> str:
        self._waiting.append(self._float(node))
        return " "

    def _reference(self, xref: xml.Element) -> str | None:
        kind = xref.get("ref-type")
        if kind == "bibr":
            written = self._written(xref.get("rid"), self._bib_refs, self._bib_ref)
            # "Smith et al. (2010)" says something by itself, "12" does not
            return written or (None if _NAME.search(xml.line(xref)) else " ")
        if kind in ("fig", "table"):
            return self._written(xref.get("rid"), self._fig_refs, self._fig_ref) or None
        return "" if kind in ("fn", "table-fn", "aff", "corresp") else None

    def _written(self, ids: str | None, known: dict[str, str], write: Callable[[str], str]) -> str:
        """What a reference to these ids says, spaces around it; "" when nothing is known of them."""
        if not ids:
            return ""
        if ids not in known:
            written = " ".join(filter(None, map(write, ids.split())))
            known[ids] = f" {written} " if written else ""
        text = known[ids]
        self._reference_characters += len(text)
        if self._reference_characters > MOST_REFERENCE_CHARACTERS:
            raise RejectedError("text_too_long", f"references of more than {MOST_REFERENCE_CHARACTERS:,} characters")
        return text

    def _bib_ref(self, rid: str) -> str:
        """The title of the work (of the book, when it is a chapter without one) and its first author."""
        ref = self._references.get(rid)
        title = _first_line(ref, TITLES) if ref is not None else ""
        return markup.bib_ref(title, _first_line(ref, AUTHORS)) if title else ""

    def _fig_ref(self, rid: str) -> str:
        node = self._floats.get(rid)
        return markup.fig_ref(*self._named(node)) if node is not None else ""

    def _float(self, node: xml.Element) -> str:
        return markup.captioned(FLOATS[xml.name(node)], *self._named(node))

    def _named(self, node: xml.Element) -> tuple[str, str]:
        """Label and caption of a figure or table."""
        if node not in self._names:
            captions = [part for caption in node.iterchildren("caption") for part in caption.iterchildren("title", "p")]
            caption = " ".join(filter(None, map(xml.line, captions)))
            self._names[node] = xml.line(_child(node, "label")), caption
        return self._names[node]

    def _displayed(self, node: xml.Element) -> str:
        return markup.block("formula", self._formula(node))

    def _formula(self, node: xml.Element) -> str:
        """A formula as TeX where there is TeX, else in one line from MathML, else as it is written."""
        tex = next(node.iter("tex-math"), None)
        if tex is not None:
            source = "".join(tex.itertext())
            body = _TEX_BODY.search(source)
            return markup.raw(" ".join((body[1] if body else source).strip(" \n$").split()))
        math = next(node.iter("{*}math"), None)
        return xml.formula(math) if math is not None else xml.running(node, _WRITTEN)


def _child(node: xml.Element, tag: str) -> xml.Element | None:
    return next(node.iterchildren(tag), None)


def _stray(text: str | None) -> str:
    """Text that stands in a container, where JATS has none, but authors have."""
    return f"{xml.folded(text)}\n" if text and not text.isspace() else ""


def _first_line(node: xml.Element, tags: Sequence[str]) -> str:
    """The first non-empty text of the elements below `node` with the first of these tags that has any."""
    for tag in tags:
        for found in node.iter(tag):
            if text := xml.line(found):
                return text
    return ""


def _nothing(node: xml.Element) -> str:
    return ""


_WRITTEN: xml.Actions = {**xml.PLAIN, **dict.fromkeys(DROPPED, _nothing)}
"""A formula that is plain text: its number, a label, is dropped."""
