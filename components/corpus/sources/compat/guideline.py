"""Meditron's common cleaning of guidelines, `clean` in gap-replay/guidelines/clean.py, with what it gets wrong.

Every pattern below works within a line or at its beginning, and takes time in proportion to the text.
"""

from __future__ import annotations

import re

from components.corpus.sources.compat import plain

_HEADING = re.compile(r"\n#+")
_LONG_HEADING = re.compile(r"\n#{3,}")
_LETTER = re.compile(r"[a-zA-Z]")
_BULLET = "\uf0b7"  # how PDF readers write the bullet of the Symbol font
_REMOVED = re.compile(f"[◆•{_BULLET}▪■□]")


def cleaned(text: str) -> str:
    """A guideline's text as Meditron trained on it."""
    text = _without_symbols(_with_dashes(plain.cleaned(text)))
    return _without_empty_lines(_with_short_headings(text)).strip()


def _with_dashes(text: str) -> str:
    """Reference faults: "o" at the start of a line is taken for a bullet, so a line `of the` becomes `-f the`; and so
    is the end of emphasis, so `an *ad hoc* group` becomes `an *ad hoc- group`."""
    for bullet in ("* ", "•", "o", _BULLET, "+ "):
        text = text.replace("\n" + bullet, "\n- " if bullet.endswith(" ") else "\n-")
    return text.replace("• ", "- ").replace("* ", "- ")


def _without_symbols(text: str) -> str:
    text = _REMOVED.sub("", text).replace("*-", "").replace("\n>", "\n")
    return text.replace("**", "").replace("\ufffd", "")


def _with_short_headings(text: str) -> str:
    """Headings from one "#" to three. Reference fault: one on the first line does not count."""
    headings = _HEADING.findall(text)
    if not headings:
        return text
    shortest = min(len(heading) - 1 for heading in headings)
    return _LONG_HEADING.sub("\n###", text.replace("\n" + "#" * shortest, "\n#"))


def _without_empty_lines(text: str) -> str:
    """Reference fault: a line without Latin letters counts as empty, so doses and numbers on their own go."""
    lines = [line for line in text.split("\n") if _LETTER.search(line)]
    return "\n".join(lines).replace("\n#", "\n\n#")
