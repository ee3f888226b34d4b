"""Meditron's structure tokens, and how they get into a text without mixing with what the text itself says.

Readers mark structure with single characters that no text can contain (Unicode noncharacters U+FDD0 to U+FDEF, set
aside for such internal use). Raw text passes through `raw`, which removes those characters. Only after cleaning,
when look-alikes such as a literal "[fig]" in the raw text have been escaped, do the marks become the tokens. So every
structure token in the corpus was put there by us.
"""

from __future__ import annotations

import re

KINDS = ("bib_ref", "fig_ref", "bib", "fig", "table", "formula")
TOKENS = tuple(token for kind in KINDS for token in (f"[{kind}]", f"[/{kind}]"))
"""The 12 tokens that Meditron adds to the vocabulary."""

OPEN = {kind: chr(0xFDD0 + 2 * i) for i, kind in enumerate(KINDS)}
CLOSE = {kind: chr(0xFDD1 + 2 * i) for i, kind in enumerate(KINDS)}
MARKS = dict(zip((mark for kind in KINDS for mark in (OPEN[kind], CLOSE[kind])), TOKENS, strict=True))

_NONCHARACTERS = tuple(map(chr, range(0xFDD0, 0xFDF0)))
_ENDS = CLOSE["bib_ref"] + CLOSE["fig_ref"]
_ANY_REFERENCE = rf"(?:[{OPEN['bib_ref']}{OPEN['fig_ref']}][^{_ENDS}]*[{_ENDS}])"
# "(4–6)" or "[12, 13]": brackets around nothing but references, which a reference's own tokens replace. Two patterns,
# because `re` finds one literal character six times faster than a choice of two.
_BRACKETED_REFERENCES = tuple(
    re.compile(rf"{bracket}\s*({_ANY_REFERENCE}(?:[\s,;–-]*{_ANY_REFERENCE})*)\s*[\])]") for bracket in (r"\(", r"\[")
)

WORDS_OF_A_TITLE = 12
LONGEST_REFERENCE = 1000
"""Characters of a reference: a guard, for a file may cite one endless title any number of times."""

# Sections that hold no knowledge about medicine (paper: acknowledgements and references are removed)
_DROPPED_SECTION = re.compile(r"[\W\d]*(?:acknowledge?ments?|references|bibliography|literature cited)\W*", re.I)
# Words that make a heading of at most three words a main section
_MAIN_SECTION = re.compile(
    r"abstract|introduction|background|related|method|material|result|analysis|discussion|conclusion|contribution"
    r"|statement|declaration|strength|limitation|future research|funding|disclosure|acknowledge?ment|ethical"
    r"|tables|figures|appendix",
    re.I,
)


def raw(text: str) -> str:
    """Text from outside, same length, without the characters we use as marks."""
    if text.isascii() or not any(map(text.__contains__, _NONCHARACTERS)):
        return text
    return text.translate(dict.fromkeys(map(ord, _NONCHARACTERS), "\ufffd"))


def marked(kind: str, content: str) -> str:
    """`content` between the marks of `kind`, on one line; nothing when there is no content."""
    content = " ".join(content.split())
    return f"{OPEN[kind]}{content}{CLOSE[kind]}" if content else ""


def block(kind: str, content: str) -> str:
    """A figure, table or formula on a line of its own."""
    inside = marked(kind, content)
    return f"\n{inside}\n" if inside else ""


def bib_ref(title: str, last_name: str) -> str:
    """A reference to the literature: its title (at most 12 words) and its first author's last name."""
    title, last_name = shortened(title.rstrip(" .")), " ".join(last_name.split())
    content = f"{title}, {last_name}" if title and last_name else title or last_name
    return f"{OPEN['bib_ref']}{content[:LONGEST_REFERENCE]}{CLOSE['bib_ref']}" if content else ""


def fig_ref(name: str, caption: str) -> str:
    """A reference to a figure or table: "Figure 1: <first sentence of the caption, at most 12 words>"."""
    return marked("fig_ref", _named(name, shortened(first_sentence(caption)))[:LONGEST_REFERENCE])


def captioned(kind: str, name: str, caption: str) -> str:
    """A figure or table, of which the caption is kept: "Figure 1: <caption>"."""
    return block(kind, _named(name, caption))


def heading(title: str, main: bool) -> str:
    """A section heading: `# ` for main sections, `## ` for others, a blank line before it."""
    title = " ".join(title.split())
    return f"\n\n{'#' if main else '##'} {title}\n" if title else ""


def is_main_section(title: str) -> bool:
    """Meditron's rule for text that has no section levels: at most three words, one of them well known."""
    return len(title.split()) <= 3 and _MAIN_SECTION.search(title) is not None


def is_dropped_section(title: str) -> bool:
    """Acknowledgements and reference lists."""
    return _DROPPED_SECTION.fullmatch(title) is not None


def laid_out(text: str) -> str:
    """One line break between parts, a blank line before headings, and no brackets around nothing but references."""
    for bracketed in _BRACKETED_REFERENCES:
        text = bracketed.sub(r"\1", text)
    return one_break(text).replace("\n# ", "\n\n# ").replace("\n## ", "\n\n## ")


def one_break(text: str) -> str:
    """Lines without white space around them, and no blank ones."""
    return "\n".join([line for line in map(str.strip, text.split("\n")) if line])


def shortened(title: str) -> str:
    """The first 12 words of a title, with "..." when there are more."""
    words = title.split(maxsplit=WORDS_OF_A_TITLE)
    return " ".join(words[:WORDS_OF_A_TITLE]) + ("..." if len(words) > WORDS_OF_A_TITLE else "")


def first_sentence(caption: str) -> str:
    """A caption up to its first full stop, colon, semicolon or bracket; short captions stay whole."""
    caption = caption.strip()
    return re.split(r"[.;:](?:\s|$)|\s\(", caption, maxsplit=1)[0] if len(caption) > 20 else caption.rstrip(".")


def _named(name: str, text: str) -> str:
    name, text = name.strip(" .:\n"), text.strip()
    return f"{name}: {text}" if name and text else name or text
