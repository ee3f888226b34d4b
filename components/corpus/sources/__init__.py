"""Readers, one file per format: `records(file, limits)` cuts a file into records, `parse(bytes)` makes each a document.

Every record becomes exactly one document or one reject, so nothing is lost without being counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from components.corpus.limits import DEFAULT, Limits
from components.corpus.sources import abstracts, compat, guidelines, jats, papers, pubmed_xml, redpajama, s2orc
from components.corpus.sources.document import Document, Records, RejectedError
from components.platform.data import SourceFile


class Format(Protocol):
    """What a reader module offers."""

    records: Callable[[SourceFile, Limits], Records]
    parse: Callable[[bytes], Document]


FORMATS: dict[str, Format] = {
    "guidelines": guidelines,
    "s2orc": s2orc,
    "abstracts": abstracts,
    "papers": papers,
    "pubmed_xml": pubmed_xml,
    "jats": jats,
    "redpajama": redpajama,
    "meditron-compat": compat,
}


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that was set aside: where it stands, and why."""

    file: str
    record: int
    reason: str
    detail: str


def read(
    reader: Format, files: Iterable[SourceFile], limits: Limits = DEFAULT
) -> Iterator[tuple[str, Document] | Reject]:
    """All records of some files, in order: a document and where it comes from ("file:record"), or a reject."""
    for file in files:
        for number, payload in reader.records(file, limits):
            try:
                if isinstance(payload, RejectedError):
                    raise payload
                yield f"{file.name}:{number}", reader.parse(payload)
            except RejectedError as error:
                yield Reject(file.name, number, error.reason, error.detail)
            except RecursionError:
                yield Reject(file.name, number, "nested_too_deep", "elements within elements beyond what text has")
