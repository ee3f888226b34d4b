"""XML from outside, parsed without trust, and the text inside its elements.

Parsing takes about half of the time that an article takes, so the other half counts: elements are visited once, and
text that is in order already is only looked at.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from lxml import etree

from components.corpus import markup
from components.corpus.sources.document import RejectedError

Element = etree._Element
Actions = Mapping[str, Callable[[Element], str | None]]
"""By the name of an element, what stands for it in running text; None: its own text does."""

_SPACES = re.compile(r"\s+")
_POWER = re.compile(r"[-+−–]?\d")
# How parts of a formula are written in one line, by element and number of parts
_LAYOUTS = {
    ("mfrac", 2): "({})/({})",
    ("msup", 2): "{}^{}",
    ("mover", 2): "{}^{}",
    ("msub", 2): "{}_{}",
    ("munder", 2): "{}_{}",
    ("msubsup", 3): "{}_{}^{}",
    ("munderover", 3): "{}_{}^{}",
}


def parsed(payload: bytes) -> Element:
    """The root of an XML document, from bytes.

    Nothing is fetched and no entity is expanded. A document that declares entities of its own is refused: that is
    how a few bytes grow to gigabytes, and articles have no need of it.

    Raises:
        RejectedError: it is not well-formed, nests too deep, or declares entities.
    """
    parser = etree.XMLParser(
        resolve_entities=False, huge_tree=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(payload, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        reason = "xml_entities" if "entit" in str(error).lower() else "bad_xml"
        raise RejectedError(reason, str(error)) from None
    dtd = root.getroottree().docinfo.internalDTD
    if dtd is not None and any(True for _ in dtd.iterentities()):
        raise RejectedError("xml_entities", "the document declares entities; remove them from its DOCTYPE")
    return root


def name(node: Element) -> str:
    """Tag without its namespace; "" for an entity reference."""
    return _local(node.tag)


@lru_cache(maxsize=1024)  # several times as many as JATS and MathML have
def _local(tag: str | Callable[..., Element]) -> str:
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def running(node: Element, actions: Actions) -> str:
    """The text in an element, white space folded, with entities, exponents and formulas written out."""
    before = node.text
    parts = [folded(before)] if before else [""]
    for child in node:
        kind = _local(child.tag)
        written = actions[kind](child) if kind in actions else None
        if written is None:
            written = running(child, actions) if len(child) else folded(child.text)
            if kind in ("sub", "sup"):
                if before and _ends_in_indentation(before):
                    parts[-1] = parts[-1].rstrip()
                if kind == "sup" and parts[-1][-1:].isdigit() and _POWER.match(written):
                    written = f"^{written}"  # a power: "10^6", which without the sign would read as 106
        before = child.tail
        parts += (written, folded(before) if before else "")
    return "".join(parts)


def line(node: Element | None) -> str:
    """The text in an element as one line; "" for None."""
    if node is None:
        return ""
    text = running(node, PLAIN) if len(node) else folded(node.text)
    return " ".join(text.split())


def formula(node: Element) -> str:
    """A MathML formula in one line, such as `(a+b)/(c)`."""
    parts = [
        formula(child) if len(child) else folded(child.text).strip() for child in node if isinstance(child.tag, str)
    ]
    if not parts:  # nothing but letters and entities
        return running(node, PLAIN).strip()
    kind = _local(node.tag)
    if layout := _LAYOUTS.get((kind, len(parts))):
        return layout.format(*parts)
    if kind == "semantics":
        return parts[0]  # the others are annotations that repeat it
    if kind == "msqrt":
        return f"sqrt({''.join(parts)})"
    return (" " if kind in ("mtr", "mtable") else "").join(parts)


def folded(text: str | None) -> str:
    """Text of a node with its white space folded, as it may enter a document."""
    if not text:
        return ""
    # No white space but spaces is printable, and no noncharacter is: what passes here needs neither folding nor `raw`
    if text.isprintable() and "  " not in text:
        return text
    return " " if text.isspace() else markup.raw(_SPACES.sub(" ", text))


def entity(node: Element) -> str:
    """The character that a named reference such as &alpha; stands for.

    Raises:
        RejectedError: HTML knows no such name, so what the author wrote is lost.
    """
    character = html.unescape(node.text)
    if character == node.text:
        raise RejectedError("xml_entities", f"{node.text} is not defined")
    return character


PLAIN: Actions = {"": entity, "math": formula}
"""What running text of any kind has besides letters."""


def _ends_in_indentation(before: str) -> bool:
    """Whether a pretty-printer put a line break at the end of this text, which in running text would be a space."""
    return "\n" in before[len(before.rstrip()) :]
