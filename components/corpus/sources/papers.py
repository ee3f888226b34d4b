"""Semantic Scholar's bulk `papers`: titles, identifiers and other metadata that `abstracts` and `s2orc` records lack.

Not a source of documents: other sources join it by corpusid.
"""

from __future__ import annotations

import re
from typing import Any

from components.corpus.sources import files
from components.corpus.sources.document import Document, RejectedError, mapping, optional, s2_identifiers

records = files.lines

# Semantic Scholar's own names, as PubMed calls the same; its other types (such as "Study") PubMed does not have
PUBLICATION_TYPES = {
    "CaseReport": "Case Reports",
    "ClinicalTrial": "Clinical Trial",
    "Conference": "Congress",
    "Dataset": "Dataset",
    "Editorial": "Editorial",
    "JournalArticle": "Journal Article",
    "LettersAndComments": "Letter",
    "MetaAnalysis": "Meta-Analysis",
    "News": "News",
    "Review": "Review",
}
MOST_CITATIONS = 2**31 - 1
_ISO_DATE = re.compile(r"\d{4}(-\d\d){0,2}")


def parse(payload: bytes) -> Document:
    """The record of one paper, as a document without text.

    Raises:
        RejectedError: the line is not a JSON object with a corpusid, or holds something of the wrong type.
    """
    row = files.json_object(payload)
    found = s2_identifiers(row, mapping(row, "externalids"))
    if found["corpusid"] is None:
        raise RejectedError("missing_field", "corpusid: expected Semantic Scholar's id of the paper")
    return Document(
        title=optional(row, "title"),
        text="",
        published=_published(row),
        venue=optional(row, "venue") or optional(mapping(row, "journal"), "name"),
        citations=_whole_number(row, "citationcount", MOST_CITATIONS),
        publication_types=_publication_types(row),
        **found,
    )


def _published(row: dict[str, Any]) -> str | None:
    """The date, or else the year: ISO, as exact as it is known."""
    date = optional(row, "publicationdate")
    if _ISO_DATE.fullmatch(date):
        return date
    year = _whole_number(row, "year", 9999)
    return f"{year:04}" if year else None


def _whole_number(row: dict[str, Any], key: str, most: int) -> int | None:
    """None when it is absent, or beyond what can be."""
    value = row.get(key)
    if value is None:
        return None
    if type(value) is not int:  # true and false are ints too
        raise RejectedError("wrong_type", f"{key}: expected a whole number, found {type(value).__name__}")
    return value if 0 <= value <= most else None


def _publication_types(row: dict[str, Any]) -> tuple[str, ...]:
    """In PubMed's names; those that PubMed has no name for are left out."""
    types = row.get("publicationtypes") or []
    if not isinstance(types, list) or not all(isinstance(type_, str) for type_ in types):
        raise RejectedError("wrong_type", "publicationtypes: expected a list of names")
    return tuple(PUBLICATION_TYPES[type_] for type_ in types if type_ in PUBLICATION_TYPES)
