"""Full text in JATS XML, as PubMed Central (.nxml) and publishers such as PLOS give it: one article per file."""

from __future__ import annotations

from pathlib import Path

from components.corpus import identifiers, licence, markup
from components.corpus.sources import files, xml
from components.corpus.sources.document import Document, Records, RejectedError
from components.corpus.sources.jats_body import Article

# Abstracts that only advertise the article
SKIPPED_ABSTRACTS = frozenset({"graphical", "teaser", "toc", "precis", "key-image"})
XLINK_HREF = "{http://www.w3.org/1999/xlink}href"


def records(path: Path) -> Records:
    """The whole file, which is one article."""
    try:
        yield 1, b"".join(files.blocks(path))
    except RejectedError as damage:
        yield 1, damage


def parse(payload: bytes) -> Document:
    """One article, formatted with marks (see `markup`).

    Raises:
        RejectedError: it is not well-formed, not a JATS article, or has no text.
    """
    root = _without_namespaces(xml.parsed(payload))
    articles = [root] if root.tag == "article" else root.findall(".//article")
    if len(articles) > 1:
        raise RejectedError("several_articles", f"{len(articles)} articles; split the file into one article each")
    article = articles[0] if articles else None
    meta = article.find("front/article-meta") if article is not None else None
    if meta is None:
        raise RejectedError("not_jats", "no <article> with <front><article-meta>: expected JATS full text")
    text = _text(article, meta)
    if not text:
        raise RejectedError("empty_text", "the article has no abstract and no body")
    ids = {node.get("pub-id-type"): node.text for node in meta.iterfind("article-id")}
    return Document(
        title=xml.line(meta.find("title-group/article-title")),
        text=text,
        licence=_licence(meta),
        pmid=identifiers.pmid(ids.get("pmid")),
        pmcid=identifiers.pmcid(ids.get("pmc") or ids.get("pmcid")),
        doi=identifiers.doi(ids.get("doi")),
        retracted=_is_retracted(article, meta),
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


def _without_namespaces(root: xml.Element) -> xml.Element:
    """The same tree, all tags without their namespace: JATS comes with and without one."""
    for node in root.iter():
        if isinstance(node.tag, str):
            node.tag = xml.name(node)
    return root


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
