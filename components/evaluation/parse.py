"""Reading which option a reply in free text chooses.

A reply is read only where it says so plainly: "because" has a b in it and "A 45-year-old man" begins with an
A, but neither is an answer. What can't be read is None, which is no vote and no credit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache

# What may stand between words, and around a label: spaces, quotes, Markdown, the dollars of a formula.
FILLER = r"[\s*_$\"'“”‘’`]*"

# What must follow a label, so that it is one: the end, punctuation (but not the full stop of "C. difficile"), or the
# beginning of a reason.
CLOSE = r"(?:$|[,:;)\]}!]|\.(?!\s*(?-i:[a-z]))|(?:because|since|as)\b)"

# A label that is mentioned to be ruled out.
RULED_OUT = r"\W*\b(?:is|was)\s+(?:not|wrong|incorrect|false|unlikely)\b"

# What joins two labels, of which then neither is chosen.
JOINED = r"[\s*)\]\"'”’]*(?:,\s*(?:and|or)\b|and/or\b|and\b|or\b|[,/&;])"

SURELY = r"(?:clearly|definitely|probably|most likely|likely|obviously|simply|indeed|therefore|thus|then)"
IS = rf"(?:is|was|be|seems|appears|to|should|would|must|will|:|=|,|option|choice|letter|{SURELY})"

# Words that lead to an answer, wherever they stand. In "Option C is a cyst" no word leads to the C but "option".
LEADING = (
    rf"\banswer(?:\s+to\s+(?:the|this)\s+question)?(?:{FILLER}{IS}(?!\w))*",
    rf"\b(?:option|choice)(?:{FILLER}{IS}(?!\w))+",
    rf"\b(?:therefore|thus|hence|so|consequently|overall|in conclusion|conclusion)\b(?:{FILLER}[,:])?",
    r"\b(?:must|should|would|has to) be\b",
    r"\b(?:choose|pick|select|go with)\b(?:\s+(?:option|choice|answer))?",
    r"\\boxed\{(?:\\text\{)?",
)

# What a text says of an option that it is about to discuss.
DISCUSSED = r"\W*\b(?:is|was|has|would|could|can|may|might|refers|describes)\b"

IS_RIGHT = r"[)\]]?\W*\bis\s+(?:the\s+)?(?:most\s+)?(?:correct|right|best|likely|appropriate)\b"


def parse_choice(reply: str, options: Mapping[str, str]) -> str | None:
    """The label in `options` (label → text) that `reply` chooses, or None.

    In this order: what it states last as its answer ("the answer is (B)", "therefore, B", "(B) is correct"); an
    option's text, alone or after its label; the label it opens with ("B.", "yes, because"); a label in brackets, if
    no other label is, and nothing is said of it.
    """
    labels = tuple(options)
    if stated := max(_stated(reply, options), default=None):
        return stated[1]
    if named := _named(reply, options):
        return named
    if opening := _opening(labels).match(reply):
        return _label(opening, labels)
    bracketed = list(_bracketed(labels).finditer(reply))
    discussed = any(re.match(DISCUSSED, reply[match.end() :], re.IGNORECASE) for match in bracketed)
    mentioned = {_label(match, labels) for match in bracketed}
    return mentioned.pop() if len(mentioned) == 1 and not discussed else None


def _stated(reply: str, options: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Where an answer is stated, and which."""
    labels = tuple(options)
    for pattern in (*_led_to(labels), _called_right(labels)):
        for match in pattern.finditer(reply):
            yield match.start("label"), _label(match, labels)
    texts = {label: words for label, text in options.items() if (words := _words(text))}
    for match in _answer_is().finditer(reply):
        said = f"{_words(reply[match.end() :])} "
        found = [label for label, words in texts.items() if words != label.casefold() and said.startswith(f"{words} ")]
        if len(found) == 1:
            yield match.end(), found[0]


def _named(reply: str, options: Mapping[str, str]) -> str | None:
    said = _words(reply)
    found = {label for label, text in options.items() if f"{said} ".startswith(f"{_words(f'{label} {text}')} ")}
    found = found or {label for label, text in options.items() if said and said == _words(text)}
    return found.pop() if len(found) == 1 else None


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _label(match: re.Match[str], labels: tuple[str, ...]) -> str:
    return next(label for label in labels if label.casefold() == match["label"].casefold())


@cache
def _led_to(labels: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    answer, *others = LEADING
    # "So a" may be where a text was cut off, so elsewhere than behind "answer" a letter must be written as it is.
    as_written = tuple(f"(?-i:{label})" if len(label) == 1 else label for label in labels)
    patterns = [f"{answer}{FILLER}{_closed_label(_any(labels))}"]
    closed = _closed_label("|".join(as_written))
    patterns += [f"{lead}{FILLER}{closed}" for lead in others]
    patterns.append(rf"[.!?:\n]{FILLER}{closed}\W*$")  # a last sentence that is nothing but the label
    return tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)


@cache
def _called_right(labels: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w'’-])[(\[]?\b(?P<label>{_any(labels)})\b{IS_RIGHT}")


@cache
def _answer_is() -> re.Pattern[str]:
    return re.compile(rf"\banswer(?:{FILLER}{IS}(?!\w))+", re.IGNORECASE)


@cache
def _opening(labels: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"{FILLER}{_closed_label(_any(labels))}(?!{DISCUSSED})", re.IGNORECASE)


@cache
def _bracketed(labels: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"\((?P<label>{_any(labels)})\)")


def _closed_label(label: str) -> str:
    """A label that something closes, and that is not the first of several ("A or B"); `label` is a pattern for any."""
    another = rf"\W*\b(?:{label})\b(?!\s+(?!and\b|or\b)\w)"
    return rf"[(\[]?\b(?P<label>{label})\b(?!['’-]\w|{RULED_OUT}|{JOINED}{another}){FILLER}{CLOSE}"


def _any(labels: tuple[str, ...]) -> str:
    return "|".join(map(re.escape, labels))
