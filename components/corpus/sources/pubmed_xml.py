"""PubMed's citation XML (baseline and update files, .xml or .xml.gz): the abstracts, with their titles.

A file holds up to 30,000 articles in one PubmedArticleSet. It is cut at the article tags and each article is parsed
by itself: memory stays small, and a malformed article costs that article, not the rest of the file.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.corpus import identifiers
from components.corpus.sources import files, xml
from components.corpus.sources.document import Document, Records, RejectedError

_TAG = re.compile(rb"<Pubmed(?:Book)?Article[\s>]|</Pubmed(?:Book)?Article\s*>")  # a book has no citation: rejected
_LONGEST_TAG = 64  # bytes of a tag that may be cut by the end of a block
_ENCODING = re.compile(rb"""<\?xml[^>]*encoding\s*=\s*["']([\w.-]+)["']""")
_SET = (b'<set xmlns:mml="http://www.w3.org/1998/Math/MathML">', b"</set>")  # older files use mml: undeclared


def records(path: Path) -> Records:
    """Articles with their 1-based numbers; damage is one more, rejected record each time."""
    number = 0
    try:
        for article in _articles(path):
            number += 1
            yield number, article
    except RejectedError as damage:
        yield number + 1, damage


@dataclass
class _Scan:
    """A window on the file: what was read and not yet handed out."""

    window: bytes = b""
    position: int = 0
    begun: int | None = None
    last: bytes = b""

    def feed(self, block: bytes) -> None:
        drop = self.begun if self.begun is not None else self.position
        self.window = self.window[drop:] + block
        self.position -= drop
        self.begun = None if self.begun is None else 0
        self.last = (self.last + block)[-_LONGEST_TAG:]


def _articles(path: Path) -> Iterator[bytes | RejectedError]:
    """Raises RejectedError at the end when the file is not such a set, or is cut short."""
    scan, encoding, is_set, has_articles = _Scan(), "utf-8", False, False
    for block in files.blocks(path):
        if not scan.last:
            encoding = _encoding(block)
        scan.feed(block)
        is_set = is_set or b"<PubmedArticleSet" in scan.window
        while tag := _TAG.search(scan.window, scan.position):
            scan.position, has_articles = tag.end(), True
            if tag[0].startswith(b"</"):
                if scan.begun is not None:
                    yield _utf8(scan.window[scan.begun : tag.end()], encoding)
                scan.begun = None
            else:
                if scan.begun is not None:
                    yield RejectedError("bad_xml", "<PubmedArticle> without its end tag")
                scan.begun = tag.start()
        scan.position = max(scan.position, len(scan.window) - _LONGEST_TAG)
    if not (is_set or has_articles):
        raise RejectedError("not_pubmed_xml", "no <PubmedArticleSet>: expected PubMed citation XML")
    if scan.begun is not None or (is_set and not re.search(rb"</PubmedArticleSet\s*>\s*$", scan.last)):
        raise RejectedError("truncated_xml", "the file ends before </PubmedArticleSet>; fetch it again")


def _encoding(block: bytes) -> str:
    declared = _ENCODING.match(block)
    try:
        return codecs.lookup(declared[1].decode()).name if declared else "utf-8"
    except LookupError:
        raise RejectedError("bad_xml", f"unknown encoding {declared[1].decode()}") from None


def _utf8(article: bytes, encoding: str) -> bytes | RejectedError:
    if encoding != "utf-8":
        try:
            article = article.decode(encoding).encode()
        except UnicodeDecodeError as error:
            return RejectedError("bad_xml", str(error))
    return _SET[0] + article + _SET[1]


def parse(payload: bytes) -> Document:
    """One article's title and abstract.

    Raises:
        RejectedError: it is not well-formed, or has no abstract.
    """
    article = xml.parsed(payload)[0]
    citation = article.find("MedlineCitation")
    if citation is None:
        raise RejectedError("missing_field", "MedlineCitation")
    ids = {node.get("IdType"): node.text for node in article.iterfind("PubmedData/ArticleIdList/ArticleId")}
    electronic = {node.get("EIdType"): node.text for node in citation.iterfind("Article/ELocationID")}
    parts = [_part(node) for node in citation.iterfind("Article/Abstract/AbstractText")]
    text = "\n".join(part for part in parts if part)
    if not text:
        raise RejectedError("empty_text", "the article has no abstract")
    return Document(
        title=xml.line(citation.find("Article/ArticleTitle")) or xml.line(citation.find("Article/VernacularTitle")),
        text=text,
        pmid=identifiers.pmid(citation.findtext("PMID")),
        pmcid=identifiers.pmcid(ids.get("pmc")),
        doi=identifiers.doi(ids.get("doi") or electronic.get("doi")),
        retracted=_is_retracted(citation),
    )


def _part(node: xml.Element) -> str:
    """One part of a structured abstract: "METHODS: We ..."."""
    label, text = " ".join((node.get("Label") or "").split()), xml.line(node)
    return f"{label}: {text}" if label and text and label.upper() != "UNLABELLED" else text


def _is_retracted(citation: xml.Element) -> bool:
    types = {node.text for node in citation.iterfind("Article/PublicationTypeList/PublicationType")}
    notices = {node.get("RefType") for node in citation.iterfind("CommentsCorrectionsList/CommentsCorrections")}
    return "Retracted Publication" in types or "RetractionIn" in notices
