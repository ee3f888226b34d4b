"""What readers make: one document per record, or the reason why a record is set aside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.corpus import identifiers, licence, markup


@dataclass(frozen=True, slots=True)
class Document:
    """One work as its reader gives it.

    Attributes:
        text: with marks for structure (see `markup`), and not yet with the title.
        published: ISO date, as exact as it is known: "2021", "2021-03" or "2021-03-09".
        venue: title of the journal.
        citations: how often it was cited.
        publication_types: in PubMed's names, such as "Randomized Controlled Trial".
        mesh: MeSH descriptors, such as "Animals".
    """

    title: str
    text: str
    licence: str = licence.UNKNOWN
    pmid: str | None = None
    pmcid: str | None = None
    doi: str | None = None
    corpusid: str | None = None
    retracted: bool = False
    published: str | None = None
    venue: str = ""
    citations: int | None = None
    publication_types: tuple[str, ...] = ()
    mesh: tuple[str, ...] = ()


class RejectedError(Exception):
    """A record that can't become a document. `reason` is a short name that is counted; `detail` is for people."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


Record = tuple[int, bytes | RejectedError]
"""Number of a record in its file (a line number in JSONL), and its bytes or why they can't be had."""

Records = Iterator[Record]


def content(row: dict[str, Any], key: str) -> str:
    """Text that a record must have.

    Raises:
        RejectedError: the key is absent, is not text, or is blank.
    """
    if key not in row:
        raise RejectedError("missing_field", f"{key}: expected text")
    value = optional(row, key)
    if not value.strip():
        raise RejectedError("empty_text", f"{key} is empty")
    return value


def optional(row: dict[str, Any], key: str) -> str:
    """Text that a record may have; "" when it has none.

    Raises:
        RejectedError: it is something other than text.
    """
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RejectedError("wrong_type", f"{key}: expected text, found {type(value).__name__}")
    return markup.raw(value)


def mapping(row: dict[str, Any], key: str) -> dict[str, Any]:
    """A JSON object inside a record; empty when it is absent or null.

    Raises:
        RejectedError: it is something other than an object.
    """
    value = row.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RejectedError("wrong_type", f"{key}: expected an object, found {type(value).__name__}")
    return value


def s2_identifiers(row: dict[str, Any], external: dict[str, Any]) -> dict[str, str | None]:
    """Identifiers of a Semantic Scholar record; its datasets spell the keys in different cases."""
    keys = {key.lower(): value for key, value in external.items() if isinstance(value, str | int)}
    corpusid = row.get("corpusid")
    return {
        "pmid": identifiers.pmid(keys.get("pubmed")),
        "pmcid": identifiers.pmcid(keys.get("pubmedcentral")),
        "doi": identifiers.doi(keys.get("doi")),
        "corpusid": identifiers.corpusid(corpusid if isinstance(corpusid, str | int) else None),
    }
