"""Semantic Scholar's bulk `abstracts`: `corpusid`, `abstract`, `openaccessinfo`. Titles are joined from `papers`."""

from __future__ import annotations

from components.corpus import licence
from components.corpus.sources import files
from components.corpus.sources.document import Document, content, mapping, optional, s2_identifiers

records = files.lines


def parse(payload: bytes) -> Document:
    """One abstract, without its title.

    Raises:
        RejectedError: the line is not a JSON object with an abstract.
    """
    row = files.json_object(payload)
    text = content(row, "abstract")
    access = mapping(row, "openaccessinfo")
    return Document(
        title=optional(row, "title"),
        text=text,
        licence=licence.normalised(optional(access, "license")),
        **s2_identifiers(row, mapping(access, "externalids")),
    )
