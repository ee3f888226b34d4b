"""Licences, in one spelling each: from the codes of Semantic Scholar, from URLs, and from a journal's sentences."""

from __future__ import annotations

import re

UNKNOWN = "unknown"

_CC_PARTS = r"by(?:[ -]?nc)?(?:[ -]?(?:nd|sa))?"
_CC_CODE = re.compile(rf"(?:cc|creativecommons\.org/licenses/)[ /-]?({_CC_PARTS})\b", re.I)
_PUBLIC = re.compile(r"public domain|public-domain|publicdomain|free of all copyright|no copyright restrictions", re.I)
_CC0 = re.compile(r"\bcc[ -]?0\b|cc zero|publicdomain/zero|free of all copyright", re.I)
_CC_SENTENCE = re.compile(
    r"creative commons\W+(attribution(?:[\s-]*(?:non-?\s?commercial|no-?\s?deriv\w*|share-?\s?alike))*)", re.I
)


def named(statement: str | None) -> str | None:
    """The open licence that a code, URL or sentence names; None when it names none.

    Returns:
        `cc0`, `public-domain`, `cc-by`, `cc-by-sa`, `cc-by-nc`, `cc-by-nd`, `cc-by-nc-sa` or `cc-by-nc-nd`.
    """
    statement = " ".join((statement or "").split())
    if _CC0.search(statement):
        return "cc0"
    if _PUBLIC.search(statement):
        return "public-domain"
    terms = _CC_CODE.search(statement) or _CC_SENTENCE.search(statement)
    return _cc(terms[1]) if terms else None


def normalised(statement: str | None) -> str:
    """Like `named`; other licences as they are stated, in lower-case words joined by "-" (at most 60 characters).

    Returns:
        `unknown` when nothing is stated.
    """
    words = re.sub(r"[^a-z0-9.]+", "-", (statement or "").lower()).strip("-")[:60]
    return named(statement) or words or UNKNOWN


def _cc(terms: str) -> str:
    """Creative Commons terms, from a code ("by-nc-sa") or in words ("Attribution-NonCommercial")."""
    terms = re.sub(r"attribution", "", terms.lower())
    parts = ["cc", "by"]
    if re.search(r"nc|non", terms):
        parts.append("nc")
    if re.search(r"nd|deriv", terms):
        parts.append("nd")
    elif re.search(r"sa|alike", terms):
        parts.append("sa")
    return "-".join(parts)
