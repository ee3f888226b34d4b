"""Semantic Scholar's bulk `papers`: titles and identifiers that `abstracts` and `s2orc` records lack.

Not a source of documents: other sources join it by corpusid.
"""

from __future__ import annotations

from components.corpus.sources import files
from components.corpus.sources.document import Document, RejectedError, mapping, optional, s2_identifiers

records = files.lines


def parse(payload: bytes) -> Document:
    """The record of one paper, as a document without text.

    Raises:
        RejectedError: the line is not a JSON object with a corpusid.
    """
    row = files.json_object(payload)
    found = s2_identifiers(row, mapping(row, "externalids"))
    if found["corpusid"] is None:
        raise RejectedError("missing_field", "corpusid: expected Semantic Scholar's id of the paper")
    return Document(title=optional(row, "title"), text="", **found)
