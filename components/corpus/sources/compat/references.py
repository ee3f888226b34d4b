"""What Meditron's script writes for works, figures and tables that a paper refers to (`format_bib`, `format_fig`)."""

from __future__ import annotations

import re
from typing import Any

from components.corpus.sources.compat.allowance import Allowance
from components.corpus.sources.compat.annotations import Bounds, Located, by_id, entries

LONGEST = 12
"""Words of a title or caption in a reference."""
SHORT_CAPTION = 20
"""Characters of a caption that is not cut down to its first sentence."""

_SENTENCE_END = re.compile(r"[.;:()]")
_PUNCTUATION = re.compile(r"[:()]")
_STRAY = re.compile(r"[.,)][.,)\s]*")


class References:
    """The works and figures of one paper, as they are written; None for those that the script can't write."""

    def __init__(self, text: str, annotations: dict[str, Any], allowance: Allowance) -> None:
        self._text, self._allowance = text, allowance
        self._entries = by_id(entries(annotations, "bibentry"))
        self._titles, self._authors = Located(annotations, "bibtitle"), Located(annotations, "bibauthorlastname")
        self._figures = by_id(entries(annotations, "figure"))
        self._captions = Located(annotations, "figurecaption")
        self._works: dict[str, str | None] = {}
        self._shown: dict[str, str | None] = {}

    def work(self, ref: str) -> str | None:
        """The title and the first author's last name. Reference fault: nothing where no author is known."""
        if ref not in self._works:
            self._works[ref] = self._work(self._entries[ref]) if ref in self._entries else None
        return self._works[ref]

    def figure(self, ref: str) -> str | None:
        """The name and the beginning of the caption."""
        if ref not in self._shown:
            written = self.captioned(ref, LONGEST)
            self._shown[ref] = "".join(written) if written else None
        return self._shown[ref]

    def captioned(self, ref: str, longest: int | None = None) -> tuple[str, str] | None:
        """ "Figure 1: " and the caption, of which the first sentence up to `longest` words are kept, if given.

        Reference fault: the name is the second line of the figure, whatever stands there.
        """
        outer = self._figures.get(ref)
        bounds = self._captions.first_inside(outer, self._allowance) if outer else None
        if not bounds or not bounds[0]:
            return None
        before = self._slice((outer[0], bounds[0])).split("\n")
        if len(before) < 2:
            return None
        caption = self._slice(bounds).replace(before[1], "").strip()
        caption = caption if longest is None else _first_words(_first_sentence(caption), longest)
        return _name_and_caption(_name(before[1]), caption)

    def _work(self, entry: Bounds) -> str | None:
        title = self._titles.first_inside(entry, self._allowance)
        author = self._authors.first_inside(entry, self._allowance)
        words, name = (self._slice(bounds) if bounds else "" for bounds in (title, author))
        return f"{_first_words(words, LONGEST)}, {name}" if words and name else None

    def _slice(self, bounds: Bounds) -> str:
        part = self._text[slice(*bounds)]
        self._allowance.take(len(part))
        return part


def _name(line: str) -> str:
    name = _PUNCTUATION.sub("", line.replace(" .", " "))
    return name.replace("Fig.", "Figure").replace("Tab.", "Table").replace(" Figure", ", Figure").strip()


def _name_and_caption(name: str, caption: str) -> tuple[str, str] | None:
    """A number at the beginning of a caption belongs to the name, stray punctuation to nothing."""
    words = caption.split()
    if not words:
        return None
    if words[0].isdigit():
        name, caption = f"{name} {words[0]}", " ".join(words[1:])
    if stray := _STRAY.match(caption):
        caption = caption[stray.end() :].strip()
    return f"{name}: " if name else "", caption


def _first_sentence(caption: str) -> str:
    return _SENTENCE_END.split(caption, maxsplit=1)[0] if len(caption) > SHORT_CAPTION else caption


def _first_words(text: str, longest: int) -> str:
    """Text of at most `longest` words; a shorter one is left as it is, line breaks included."""
    words = text.split(maxsplit=longest)
    return " ".join(words[:longest]) + "..." if len(words) > longest else text
