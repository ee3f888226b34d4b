"""Identifiers of works, in one spelling each, so that the same paper is recognised across sources."""

from __future__ import annotations

import re

_PMID = re.compile(r"(?:pmid:?\s*)?0*([1-9]\d{0,8})", re.I)
_PMCID = re.compile(r"(?:pmc)?0*([1-9]\d{0,8})", re.I)
_DOI = re.compile(r"(?:doi:\s*|https?://(?:dx\.)?doi\.org/)?(10\.\d{4,9}/\S+)", re.I)
_CORPUSID = re.compile(r"0*([1-9]\d{0,17})")


def pmid(value: str | int | None) -> str | None:
    """PubMed id, digits only; None when `value` is not one."""
    return _whole(_PMID, value)


def pmcid(value: str | int | None) -> str | None:
    """PubMed Central id, digits only (without "PMC"); None when `value` is not one."""
    return _whole(_PMCID, value)


def doi(value: str | int | None) -> str | None:
    """DOI in lower case (DOIs ignore case), without a resolver in front; None when `value` is not one."""
    found = _whole(_DOI, value)
    return found.lower().rstrip(".") if found else None


def corpusid(value: str | int | None) -> str | None:
    """Semantic Scholar's id of a work; None when `value` is not one."""
    return _whole(_CORPUSID, value)


def _whole(pattern: re.Pattern[str], value: str | int | None) -> str | None:
    match = pattern.fullmatch(str(value).strip()) if value is not None else None
    return match[1] if match else None
