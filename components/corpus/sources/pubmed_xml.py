"""PubMed's citation XML (baseline and update files, .xml or .xml.gz): the abstracts, with their titles.

A file holds up to 30,000 articles in one PubmedArticleSet. It is cut at the article tags and each article is parsed
by itself: memory stays small, and a malformed article costs that article, not the rest of the file.

Update files also list citations that PubMed has deleted. Each is a record that is rejected, with its PMID as the
detail: `decide` leaves these citations out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from components.corpus import identifiers, markup
from components.corpus.limits import DEFAULT, Limits
from components.corpus.sources import dates, files, xml, xml_set
from components.corpus.sources.document import Document, Records, RejectedError
from components.platform.data import SourceFile

DELETED = "deleted_citation"
"""Why a record is rejected that says that PubMed has deleted the citation with this PMID."""

# A book has no citation: it is rejected
_TAG = re.compile(rb"<(?:Pubmed(?:Book)?Article|DeleteCitation)[\s>]|</(?:Pubmed(?:Book)?Article|DeleteCitation)\s*>")
_DELETIONS = b"<DeleteCitation"
_LONGEST_ARTICLE = 32 << 20  # bytes; those with thousands of authors have two or three million
_LONGEST_TAG = 64  # bytes of a tag that may be cut by the end of a block


def records(file: SourceFile, limits: Limits = DEFAULT) -> Records:
    """Articles and deleted citations with their 1-based numbers; damage is one more, rejected record each time."""
    number = 0
    try:
        for article in _articles(file, limits):
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


def _articles(file: SourceFile, limits: Limits) -> Iterator[bytes | RejectedError]:
    """Raises RejectedError at the end when the file is not such a set, or is cut short."""
    scan, encoding, is_set, has_articles = _Scan(), "utf-8", False, False
    for block in files.blocks(file, limits):
        if not scan.last:
            encoding = xml_set.encoding(block)
        scan.feed(block)
        is_set = is_set or b"<PubmedArticleSet" in scan.window
        while tag := _TAG.search(scan.window, scan.position):
            scan.position, has_articles = tag.end(), True
            if tag[0].startswith(b"</"):
                if scan.begun is not None:
                    yield from _cut(scan.window[scan.begun : tag.end()], encoding)
                scan.begun = None
            else:
                if scan.begun is not None:
                    yield RejectedError("bad_xml", "<PubmedArticle> without its end tag")
                scan.begun = tag.start()
        scan.position = max(scan.position, len(scan.window) - _LONGEST_TAG)
        if scan.begun is not None and len(scan.window) - scan.begun > _LONGEST_ARTICLE:
            yield RejectedError("record_too_long", f"<PubmedArticle> of more than {_LONGEST_ARTICLE:,} bytes")
            scan.begun = None
    if not (is_set or has_articles):
        raise RejectedError("not_pubmed_xml", "no <PubmedArticleSet>: expected PubMed citation XML")
    if scan.begun is not None or (is_set and not re.search(rb"</PubmedArticleSet\s*>\s*$", scan.last)):
        raise RejectedError("truncated_xml", "the file ends before </PubmedArticleSet>; fetch it again")


def _cut(element: bytes, encoding: str) -> Iterator[bytes | RejectedError]:
    """The records in one element: an article, or each citation in a list of those deleted."""
    part = xml_set.standalone(element, encoding)
    if isinstance(part, RejectedError) or not element.startswith(_DELETIONS):
        yield part
        return
    try:
        pmids = [identifiers.pmid(xml.line(node)) for node in xml.parsed(part).iter("PMID")]
    except RejectedError as error:
        yield error
        return
    for pmid in pmids:
        yield RejectedError(DELETED, pmid) if pmid else RejectedError("bad_xml", "not a PMID")


def parse(payload: bytes) -> Document:
    """One article's title and abstract.

    Raises:
        RejectedError: it is not well-formed, or has no abstract.
    """
    citation = xml.parsed(payload).find("*/MedlineCitation")
    if citation is None:
        raise RejectedError("missing_field", "MedlineCitation")
    article = citation.find("Article")
    if article is None:
        raise RejectedError("missing_field", "Article")
    text = "\n".join(filter(None, map(_part, article.iterfind("Abstract/AbstractText"))))
    if not text:
        raise RejectedError("empty_text", "the article has no abstract")
    ids = {node.get("IdType"): node.text for node in citation.iterfind("../PubmedData/ArticleIdList/ArticleId")}
    electronic = {node.get("EIdType"): node.text for node in article.iterfind("ELocationID")}
    types = _lines(article, "PublicationTypeList/PublicationType")
    return Document(
        title=xml.line(article.find("ArticleTitle")) or xml.line(article.find("VernacularTitle")),
        text=text,
        pmid=identifiers.pmid(citation.findtext("PMID")),
        pmcid=identifiers.pmcid(ids.get("pmc")),
        doi=identifiers.doi(ids.get("doi") or electronic.get("doi")),
        retracted="Retracted Publication" in types or _has_retraction_notice(citation),
        published=_published(article),
        venue=xml.line(article.find("Journal/Title")),
        publication_types=types,
        mesh=_lines(citation, "MeshHeadingList/MeshHeading/DescriptorName"),
    )


def _part(node: xml.Element) -> str:
    """One part of a structured abstract: "METHODS: We ..."."""
    label, text = " ".join(markup.raw(node.get("Label") or "").split()), xml.line(node)
    return f"{label}: {text}" if label and text and label.upper() != "UNLABELLED" else text


def _lines(node: xml.Element, path: str) -> tuple[str, ...]:
    return tuple(filter(None, map(xml.line, node.iterfind(path))))


def _published(article: xml.Element) -> str | None:
    """When the work first appeared: its issue's date or that of its electronic version, whichever is earlier."""
    found = []
    for node in (*article.iterfind("Journal/JournalIssue/PubDate"), *article.iterfind("ArticleDate")):
        parts = {child.tag: child.text or "" for child in node}
        if "MedlineDate" in parts:
            found.append(dates.begin(parts["MedlineDate"]))
        else:
            found.append(dates.iso(parts.get("Year", ""), parts.get("Month", ""), parts.get("Day", "")))
    return dates.earliest(found)


def _has_retraction_notice(citation: xml.Element) -> bool:
    notices = citation.iterfind("CommentsCorrectionsList/CommentsCorrections")
    return any(notice.get("RefType") == "RetractionIn" for notice in notices)
