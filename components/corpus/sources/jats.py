"""Full text in JATS XML, as PubMed Central (.nxml) and publishers such as PLOS give it.

A file is one article, or a set of them as PMC's services answer with, or a package (.tar, .tar.gz, .tgz) as PMC
offers for download, in which every XML file is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from components.corpus import identifiers, licence, markup
from components.corpus.limits import DEFAULT, Limits
from components.corpus.sources import dates, files, xml, xml_set
from components.corpus.sources.document import Document, Records, RejectedError
from components.corpus.sources.jats_body import Article
from components.platform.data import SourceFile

PACKAGES = (".tar", ".tar.gz", ".tgz")
# Abstracts that only advertise the article
SKIPPED_ABSTRACTS = frozenset({"graphical", "teaser", "toc", "precis", "key-image"})
# Dates of earlier forms of an article
SKIPPED_DATES = frozenset({"preprint", "nihms-submitted"})
XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
# Types of articles (the values that JATS and PMC list) as PubMed names them; PubMed has none for the others
PUBLICATION_TYPES = {
    "article-commentary": "Comment",
    "brief-report": "Journal Article",
    "case-report": "Case Reports",
    "clinical-trial": "Clinical Trial",
    "correction": "Published Erratum",
    "editorial": "Editorial",
    "expression-of-concern": "Expression of Concern",
    "guideline": "Guideline",
    "introduction": "Introductory Journal Article",
    "letter": "Letter",
    "meeting-report": "Congress",
    "meta-analysis": "Meta-Analysis",
    "news": "News",
    "practice-guideline": "Practice Guideline",
    "preprint": "Preprint",
    "rapid-communication": "Journal Article",
    "reply": "Comment",
    "research-article": "Journal Article",
    "retraction": "Retraction of Publication",
    "review-article": "Review",
    "systematic-review": "Systematic Review",
}

_BEGIN = re.compile(rb"<article[\s>]")
_END = re.compile(rb"</article\s*>")
_TAG = re.compile(rb"<article[\s>]|</article\s*>")
_ROOT = re.compile(rb"<([A-Za-z_][\w.:-]*)")


def records(file: SourceFile, limits: Limits = DEFAULT) -> Records:
    """Articles with their 1-based numbers; what is no article is one, too."""
    if file.name.endswith(PACKAGES):
        yield from files.members(file, limits)
        return
    try:
        yield from enumerate(_articles(files.whole(file, limits)), start=1)
    except RejectedError as damage:
        yield 1, damage


def _articles(content: bytes) -> Iterator[bytes | RejectedError]:
    """The articles of a set, each cut out; a file of one article (or none) as it is."""
    end = _END.search(content)
    if end is None or not _BEGIN.search(content, end.end()):
        yield content
        return
    encoding = xml_set.encoding(content)
    begun, last = None, 0
    for tag in _TAG.finditer(content):
        last = tag.end()
        if tag[0].startswith(b"</"):
            if begun is not None:
                yield xml_set.standalone(content[begun:last], encoding)
            begun = None
        else:
            if begun is not None:
                yield RejectedError("bad_xml", "<article> without its end tag")
            begun = tag.start()
    root = _ROOT.search(content)
    if begun is not None or not re.search(rb"</%b\s*>" % re.escape(root[1]), content[last:]):
        yield RejectedError("truncated_xml", f"the file ends before </{root[1].decode()}>; fetch it again")


def parse(payload: bytes) -> Document:
    """One article, formatted with marks (see `markup`).

    Raises:
        RejectedError: it is not well-formed, not a JATS article, or has no text.
    """
    root = xml.parsed(payload)
    articles = [root] if xml.name(root) == "article" else list(root.iter("{*}article"))
    if len(articles) > 1:
        raise RejectedError("several_articles", f"{len(articles)} articles; split the file into one article each")
    article = articles[0] if articles else None
    if article is not None and article.tag != "article":
        _without_namespaces(article)
    meta = article.find("front/article-meta") if article is not None else None
    if meta is None:
        raise RejectedError("not_jats", "no <article> with <front><article-meta>: expected JATS full text")
    text = _text(article, meta)
    if not text:
        raise RejectedError("empty_text", "the article has no abstract and no body")
    ids = {node.get("pub-id-type"): node.text for node in meta.iterfind("article-id")}
    type_ = PUBLICATION_TYPES.get(article.get("article-type"))
    return Document(
        title=xml.line(meta.find("title-group/article-title")),
        text=text,
        licence=_licence(meta),
        pmid=identifiers.pmid(ids.get("pmid")),
        pmcid=identifiers.pmcid(ids.get("pmc") or ids.get("pmcid")),
        doi=identifiers.doi(ids.get("doi")),
        retracted=_is_retracted(article, meta),
        published=_published(meta),
        venue=xml.line(next(article.find("front").iterfind("journal-meta//journal-title"), None)),
        publication_types=(type_,) if type_ else (),
    )


def _text(article: xml.Element, meta: xml.Element) -> str:
    body = Article(article)
    parts = []
    for abstract in meta.iterfind("abstract"):
        if abstract.get("abstract-type") not in SKIPPED_ABSTRACTS and (text := body.blocks(abstract, depth=2)):
            parts.append(markup.heading(xml.line(abstract.find("title")) or "Abstract", main=True) + text)
    if (main := article.find("body")) is not None:
        parts.append(body.blocks(main, depth=1))
    # Of the back matter, appendices and sections are text; reference list, notes and acknowledgements are not.
    for part in article.iterfind("back/*"):
        if part.tag in ("sec", "app-group", "glossary"):
            parts.append(body.block(part, depth=1))
    if (floats := article.find("floats-group")) is not None:
        parts.append(body.blocks(floats, depth=1))
    return markup.laid_out("".join(parts))


def _without_namespaces(article: xml.Element) -> None:
    """Take the namespace off all tags: JATS comes with and without one."""
    for node in article.iter("{*}*"):
        node.tag = xml.name(node)


def _published(meta: xml.Element) -> str | None:
    """When the article first appeared, be it online or in print."""
    found = []
    for node in meta.iterfind("pub-date"):
        if (node.get("date-type") or node.get("pub-type")) not in SKIPPED_DATES:
            found.append(dates.iso(*(node.findtext(part) or "" for part in ("year", "month", "day"))))
    return dates.earliest(found)


def _licence(meta: xml.Element) -> str:
    """The licence by its link or sentence; old articles put the sentence into the copyright statement."""
    stated = ""
    for node in meta.iterfind("permissions/license"):
        links = [link for part in node.iter() if (link := part.get(XLINK_HREF))]
        stated = " ".join([*links, node.get("license-type") or "", xml.line(node)])
    statement = xml.line(meta.find("permissions/copyright-statement"))
    if not stated:
        return licence.named(statement) or licence.UNKNOWN
    return licence.named(stated) or licence.normalised(xml.line(meta.find("permissions/license")))


def _is_retracted(article: xml.Element, meta: xml.Element) -> bool:
    related = {node.get("related-article-type") for node in meta.iterfind("related-article")}
    return article.get("article-type") == "retraction" or "retraction-forward" in related
