"""XML from outside, parsed without trust, and the text inside its elements."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

from lxml import etree

from components.corpus import markup
from components.corpus.sources.document import RejectedError

Element = etree._Element
_SPACES = re.compile(r"\s+")


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
    return node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""


def running(node: Element, special: Callable[[Element], str | None] = lambda child: None) -> str:
    """The text in an element, white space folded, with entities, exponents and formulas written out.

    Args:
        special: called on each element inside; what it returns stands for that element (None: its own text does).
    """
    parts = [folded(node.text)]
    for child in node:
        kind, written = name(child), None
        if kind in ("sub", "sup") and _ends_in_indentation(child):
            parts[-1] = parts[-1].rstrip()
        if not kind:
            written = entity(child)
        elif kind == "math":
            written = formula(child)
        else:
            written = special(child)
        if written is None:
            written = running(child, special)
            written = _exponent(parts[-1], written) if kind == "sup" else written
        parts.append(written)
        parts.append(folded(child.tail))
    return "".join(parts)


def line(node: Element | None) -> str:
    """The text in an element as one line; "" for None."""
    return " ".join(running(node).split()) if node is not None else ""


def formula(node: Element) -> str:
    """A MathML formula in one line, such as `(a+b)/(c)`."""
    parts = [formula(child) for child in node if name(child)]
    match name(node), parts:
        case _, []:
            return running(node).strip()
        case "mfrac", [above, below]:
            return f"({above})/({below})"
        case (("msup" | "mover"), [base, above]):
            return f"{base}^{above}"
        case (("msub" | "munder"), [base, below]):
            return f"{base}_{below}"
        case (("msubsup" | "munderover"), [base, below, above]):
            return f"{base}_{below}^{above}"
        case "msqrt", _:
            return f"sqrt({''.join(parts)})"
        case "semantics", [meaning, *_]:  # the others are annotations that repeat it
            return meaning
        case (("mtr" | "mtable"), _):
            return " ".join(parts)
        case _:
            return "".join(parts)


def folded(text: str | None) -> str:
    """Text of a node with its white space folded, as it may enter a document."""
    return markup.raw(_SPACES.sub(" ", text)) if text else ""


def entity(node: Element) -> str:
    """The character that a named reference such as &alpha; stands for.

    Raises:
        RejectedError: HTML knows no such name, so what the author wrote is lost.
    """
    character = html.unescape(node.text)
    if character == node.text:
        raise RejectedError("xml_entities", f"{node.text} is not defined")
    return character


def _exponent(before: str, text: str) -> str:
    """A superscript after a digit is a power: "10^6", which without the sign would read as 106."""
    return f"^{text}" if before[-1:].isdigit() and re.match(r"[-+−–]?\d", text) else text


def _ends_in_indentation(child: Element) -> bool:
    """Whether a pretty-printer put a line break before this element, which in running text would be a space."""
    previous = child.getprevious()
    before = child.getparent().text if previous is None else previous.tail
    return before is not None and "\n" in before[len(before.rstrip()) :]
