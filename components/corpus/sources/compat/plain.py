"""What Meditron's scripts cut out of plain text: addresses, and whatever stands in brackets, faults included.

Both work within lines and take time in proportion to the text.
"""

from __future__ import annotations

import re

_URL = re.compile(r"(?:https|http)?://[\w./?=&%-]*\b")
_TAG, _LINK, _CITATION = ("<", ">"), ("[", "](", ")"), ("[", "]")


def cleaned(text: str) -> str:
    """An abstract or its title (`process_abstracts` in gap-replay/pubmed/process.py)."""
    return without_brackets(without_urls(text))


def without_urls(text: str) -> str:
    """Reference fault: what follows the address up to a character that no URL has goes with it, full stops not."""
    return _URL.sub("", text)


def without_brackets(text: str) -> str:
    """Reference fault: meant for tags, links and citations, it also eats `p < 0.05 and IL-6 > 10` and `[18F]FDG`,
    and from the first "[" of a line all text up to its first link."""
    for delimiters in (_TAG, _LINK, _CITATION):
        text = "\n".join(_cut(line, *delimiters) for line in text.split("\n"))
    return text


def _cut(line: str, opening: str, *closing: str) -> str:
    """A line without what stands from `opening` to the last of `closing`, each of them as near as it comes.

    As the lazy pattern `opening.*?closing` does, which takes quadratic time on openings that nothing closes.
    """
    kept, done = [], 0
    while (begin := line.find(opening, done)) >= 0:
        end = begin + len(opening)
        for delimiter in closing:
            found = line.find(delimiter, end)
            if found < 0:
                return "".join(kept) + line[done:]
            end = found + len(delimiter)
        kept.append(line[done:begin])
        done = end
    return "".join(kept) + line[done:]
