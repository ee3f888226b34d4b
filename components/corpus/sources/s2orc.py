"""Semantic Scholar's bulk full text, `s2orc` and `s2orc_v2`: one string per paper, and spans that say what is what.

Each kind of annotation is null or a list of `{start, end, attributes?}`, itself a JSON string; offsets count
characters. Version 2 keeps the bibliography in a string of its own, and writes `bib_ref` for `bibref`.
"""

from __future__ import annotations

from typing import Any

from components.corpus import licence
from components.corpus.sources import files
from components.corpus.sources.document import Document, RejectedError, content, mapping, optional, s2_identifiers
from components.corpus.sources.s2orc_paper import Annotated, Paper

records = files.lines


def parse(payload: bytes) -> Document:
    """One paper, formatted with marks (see `markup`).

    Raises:
        RejectedError: the line is no such record, its text is empty, or a span lies outside its text.
    """
    row = files.json_object(payload)
    if "body" in row:
        body, bibliography = mapping(row, "body"), mapping(row, "bibliography")
        access = mapping(row, "openaccessinfo")
        ids = mapping(access, "externalids")
        paper = Paper(_annotated(body, content(body, "text")), _annotated(bibliography, optional(bibliography, "text")))
    else:
        body = mapping(row, "content")
        access = open_access(body)
        ids = mapping(row, "externalids")
        paper = Paper(_annotated(body, content(body, "text")))
    text = paper.formatted()
    if not text:
        raise RejectedError("empty_text", "nothing but authors, references and the like")
    return Document(
        title=optional(row, "title") or paper.title(),
        text=text,
        licence=licence.normalised(optional(access, "license")),
        **s2_identifiers(row, ids),
    )


def open_access(body: dict[str, Any]) -> dict[str, Any]:
    """What the `content` of a version 1 record says about its licence, and where it is openly accessible."""
    return mapping(mapping(body, "source"), "oainfo") or mapping(body, "oainfo")


def _annotated(part: dict[str, Any], text: str) -> Annotated:
    return Annotated(text, {kind.replace("_", ""): spans for kind, spans in mapping(part, "annotations").items()})
