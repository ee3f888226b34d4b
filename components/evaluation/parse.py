"""Reading which option a reply in free text chooses.

A reply is read only where it says so plainly: "because" has a b in it and "A 45-year-old man" begins with an
A, but neither is an answer. What can't be read is None, which is no vote and no credit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

# What may stand between words, and around a label: spaces, quotes, Markdown.
FILLER = r"[\s*_\"'“”‘’`]*"

# What must follow a label, so that it is one: the end, punctuation (but not the full stop of "C. difficile"), or the
# beginning of a reason.
CLOSE = r"(?:$|[,:;)\]]|\.(?!\s*(?-i:[a-z]))|(?:because|since|as|is|it)\b)"

# A label that is mentioned to be ruled out.
RULED_OUT = r"\W*\b(?:is|was)\s+(?:not|wrong|incorrect|false|unlikely)\b"


def parse_choice(reply: str, options: Mapping[str, str]) -> str | None:
    """The label in `options` (label → text) that `reply` chooses, or None.

    In this order: what it states last as its answer ("the answer is (B)"); an option's text, alone or after
    its label; the label it opens with ("B.", "yes, because"); a label in brackets, if no other label is.
    """
    labels = tuple(options)
    if stated := list(_statement(labels).finditer(reply)):
        return _label(stated[-1], labels)
    if named := _named(reply, options):
        return named
    if opening := _opening(labels).match(reply):
        return _label(opening, labels)
    bracketed = list(_bracketed(labels).finditer(reply))
    ruled_out = any(re.match(RULED_OUT, reply[match.end() :]) for match in bracketed)
    mentioned = {match["label"] for match in bracketed}
    return mentioned.pop() if len(mentioned) == 1 and not ruled_out else None


def _named(reply: str, options: Mapping[str, str]) -> str | None:
    said = _words(reply)
    found = {label for label, text in options.items() if f"{said} ".startswith(f"{_words(f'{label} {text}')} ")}
    found = found or {label for label, text in options.items() if said == _words(text)}
    return found.pop() if len(found) == 1 else None


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _label(match: re.Match[str], labels: Sequence[str]) -> str:
    return next(label for label in labels if label.casefold() == match["label"].casefold())


@cache
def _statement(labels: tuple[str, ...]) -> re.Pattern[str]:
    verb = rf"(?:{FILLER}(?:is|:|=|should be|would be|must be|option|choice|letter)(?!\w))*"
    return re.compile(rf"\b(?:answer|option|choice){verb}{FILLER}{_closed_label(labels)}", re.IGNORECASE)


@cache
def _opening(labels: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"{FILLER}{_closed_label(labels)}", re.IGNORECASE)


@cache
def _bracketed(labels: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"\((?P<label>{_any(labels)})\)")


def _closed_label(labels: tuple[str, ...]) -> str:
    """A label that something closes, and that is not the first of several ("A or B")."""
    several = rf"(?!\W*(?:and|or|/|,|&)?\W*\b(?:{_any(labels)})\b(?!\s+\w))"
    return rf"[(\[]?\b(?P<label>{_any(labels)})\b(?!['’-]|{RULED_OUT}){several}{FILLER}{CLOSE}"


def _any(labels: tuple[str, ...]) -> str:
    return "|".join(map(re.escape, labels))
