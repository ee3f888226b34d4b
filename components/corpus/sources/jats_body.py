"""The text of a JATS article: sections, paragraphs, lists, references, figures, tables and formulas."""

from __future__ import annotations

import re
from collections.abc import Iterator

from components.corpus import markup
from components.corpus.sources import xml

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
FORMULAS = frozenset({"disp-formula", "inline-formula", "tex-math"})
_TEX_BODY = re.compile(r"\\begin\{document\}(.*?)\\end\{document\}", re.S)


class Article:
    """Writes the parts of one article; knows its reference list, figures and tables by id."""

    def __init__(self, article: xml.Element) -> None:
        self._references = {node.get("id"): node for node in article.iter("ref")}
        self._floats = {node.get("id"): node for node in article.iter(*FLOATS) if node.get("id")}
        self._waiting: list[str] = []  # figures found inside a paragraph, which come after it

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
        if kind in DROPPED:
            return ""
        if kind in FLOATS:
            return self._float(node)
        if kind == "disp-formula":
            return markup.block("formula", self._formula(node))
        if kind == "list":
            return "".join(self._item(item, depth) for item in node.iterchildren("list-item"))
        if kind == "def-item":
            return self._definition(node, depth)
        if kind in CONTAINERS:
            return self._container(node, depth)
        return self._paragraph(node)

    def _container(self, node: xml.Element, depth: int) -> str:
        title = xml.line(node.find("title"))
        if markup.is_dropped_section(title):
            return ""
        text = self.blocks(node, depth + 1 if title else depth)
        return markup.heading(title, main=depth == 1) + text if text.strip() else ""

    def _definition(self, node: xml.Element, depth: int) -> str:
        meaning = "".join(self.blocks(part, depth) for part in node.iterchildren("def")).strip()
        return ": ".join(part for part in (xml.line(node.find("term")), meaning) if part) + "\n"

    def _item(self, item: xml.Element, depth: int) -> str:
        text = self.blocks(item, depth).strip()
        return f"- {text}\n" if text else ""

    def _paragraph(self, node: xml.Element) -> str:
        text = re.sub(r" *\n\s*", "\n", xml.running(node, self._special)).strip()
        waiting, self._waiting = self._waiting, []
        return (f"{text}\n" if text else "") + "".join(waiting)

    def _special(self, child: xml.Element) -> str | None:
        """Elements inside running text that don't simply stand for their own text."""
        kind = xml.name(child)
        if kind == "xref":
            return self._reference(child)
        if kind in FLOATS:
            self._waiting.append(self._float(child))
            return " "
        if kind in FORMULAS:
            text = self._formula(child)
            return markup.block("formula", text) if kind == "disp-formula" else text
        if kind in DROPPED:
            return ""
        if kind in CONTAINERS or kind == "p":
            waiting, self._waiting = self._waiting, []  # the inner paragraphs must not take the outer one's figures
            text = self.block(child, depth=3)
            self._waiting = waiting
            return f"\n{text}\n"
        return None

    def _reference(self, xref: xml.Element) -> str | None:
        kind, ids = xref.get("ref-type"), (xref.get("rid") or "").split()
        if kind == "bibr":
            found = [self._bib_ref(self._references[rid]) for rid in ids if rid in self._references]
            written = " ".join(ref for ref in found if ref)
            # "Smith et al. (2010)" says something by itself, "12" does not
            return f" {written} " if written else (None if re.search(r"[^\W\d]{2}", xml.line(xref)) else " ")
        if kind in ("fig", "table"):
            found = [markup.fig_ref(*_named(self._floats[rid])) for rid in ids if rid in self._floats]
            return f" {' '.join(found)} " if any(found) else None
        return "" if kind in ("fn", "table-fn", "aff", "corresp") else None

    def _bib_ref(self, ref: xml.Element) -> str:
        """The title of the work (of the book, when it is a chapter without one) and its first author."""
        title = next(_lines(ref, "article-title", "chapter-title", "data-title", "source"), "")
        author = next(_lines(ref, "surname", "collab"), "")
        return markup.bib_ref(title, author) if title else ""

    def _float(self, node: xml.Element) -> str:
        return markup.captioned(FLOATS[xml.name(node)], *_named(node))

    def _formula(self, node: xml.Element) -> str:
        """A formula as TeX where there is TeX, else in one line from MathML, else as it is written."""
        tex = node if xml.name(node) == "tex-math" else node.find(".//tex-math")
        if tex is not None:
            source = "".join(tex.itertext())
            body = _TEX_BODY.search(source)
            return markup.raw(" ".join((body[1] if body else source).strip(" \n$").split()))
        math = node.find(".//math")
        return xml.formula(math) if math is not None else xml.running(node, _nothing_if_dropped)


def _named(node: xml.Element) -> tuple[str, str]:
    """Label and caption of a figure or table."""
    parts = [part for caption in node.iterchildren("caption") for part in caption.iterchildren("title", "p")]
    return xml.line(node.find("label")), " ".join(line for part in parts if (line := xml.line(part)))


def _stray(text: str | None) -> str:
    """Text that stands in a container, where JATS has none, but authors have."""
    text = xml.folded(text)
    return f"{text}\n" if text.strip() else ""


def _lines(node: xml.Element, *tags: str) -> Iterator[str]:
    """The non-empty text of elements below `node`, first all of the first tag, then all of the second, ..."""
    return (text for tag in tags for found in node.iter(tag) if (text := xml.line(found)))


def _nothing_if_dropped(child: xml.Element) -> str | None:
    return "" if xml.name(child) in DROPPED else None
