"""PubMed citations and JATS full text, good and bad."""

import gzip
import io
import tarfile
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.corpus import sources
from components.corpus.limits import DEFAULT, Limits
from components.corpus.sources import files, jats, jats_body, pubmed_xml, xml
from components.corpus.sources.document import RejectedError
from components.corpus.upsampling import Upsampling

BOMB = b"".join(
    [
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">',
        *(b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10) for i in range(1, 12)),
        b"]>",
    ]
)


def citation(pmid="1", abstract="<AbstractText>We did it.</AbstractText>", title="A title.", more="", data=""):
    return (
        f"<PubmedArticle><MedlineCitation><PMID>{pmid}</PMID><Article><ArticleTitle>{title}</ArticleTitle>"
        f"<Abstract>{abstract}</Abstract></Article>{more}</MedlineCitation><PubmedData>{data}</PubmedData></PubmedArticle>"
    )


def citations(*articles, head="", tail="</PubmedArticleSet>"):
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}<PubmedArticleSet>{"".join(articles)}{tail}\n'.encode()


def real_file(path, content=None):
    if content is not None:
        path.write_bytes(content)
    return sources.SourceFile(path.name, str(path), path.stat().st_size, "")


def read(tmp_path, content, reader=pubmed_xml, name="x.xml", limits=DEFAULT):
    """Documents, and reasons in the place of rejected ones."""
    path = tmp_path / name
    path.write_bytes(content)
    found = []
    for _, payload in reader.records(sources.SourceFile(name, str(path), len(content), ""), limits):
        try:
            if isinstance(payload, RejectedError):
                raise payload
            found.append(reader.parse(payload))
        except RejectedError as error:
            found.append(error.reason)
    return found


def test_structured_abstract(tmp_path):
    abstract = (
        '<AbstractText Label="METHODS">We gave β\n\t\t<sub>2</sub>-agonists at 10<sup>6</sup> units &amp;\n  more.'
        '</AbstractText><AbstractText Label="UNLABELLED">p &lt; 0.05</AbstractText><CopyrightInformation>© X'
        "</CopyrightInformation>"
    )
    ids = (
        '<ArticleIdList><ArticleId IdType="doi">10.1000/Up</ArticleId><ArticleId IdType="pmc">PMC77</ArticleId>'
        "</ArticleIdList>"
        '<ReferenceList><Reference><ArticleIdList><ArticleId IdType="doi">10.9999/other</ArticleId></ArticleIdList>'
        "</Reference></ReferenceList>"
    )
    [document] = read(tmp_path, citations(citation(abstract=abstract, data=ids)))
    assert document.title == "A title."
    assert document.text == "METHODS: We gave β2-agonists at 10^6 units & more.\np < 0.05"
    assert (document.pmid, document.pmcid, document.doi) == ("1", "77", "10.1000/up")
    assert not document.retracted


@pytest.mark.parametrize(
    "more",
    [
        '<CommentsCorrectionsList><CommentsCorrections RefType="RetractionIn"/></CommentsCorrectionsList>',
        None,
    ],
)
def test_retracted(tmp_path, more):
    article = citation(more=more or "")
    if more is None:
        types = "<PublicationTypeList><PublicationType>Retracted Publication</PublicationType></PublicationTypeList>"
        article = article.replace("</Article>", types + "</Article>")
    [document] = read(tmp_path, citations(article))
    assert document.retracted


def test_a_bad_article_costs_only_itself(tmp_path):
    content = citations(
        citation("1"),
        citation("2", abstract="<AbstractText>broken <b></AbstractText>"),
        citation("3", abstract=""),
        citation("4", abstract="<AbstractText>&undefined;</AbstractText>"),
        "<PubmedArticle><MedlineCitation>never closed",
        citation("6"),
        "<PubmedArticle><PubmedData/></PubmedArticle>",
        citation("8"),
    )
    found = [item if isinstance(item, str) else item.pmid for item in read(tmp_path, content)]
    assert found == ["1", "bad_xml", "empty_text", "xml_entities", "bad_xml", "6", "missing_field", "8"]


@pytest.mark.parametrize("block", [1, 7, 40, 1 << 20])
def test_articles_are_found_across_blocks(tmp_path, monkeypatch, block):
    monkeypatch.setattr(files, "BLOCK_BYTES", block)
    content = citations(*(citation(str(i)) for i in range(1, 6)))
    assert [document.pmid for document in read(tmp_path, content)] == ["1", "2", "3", "4", "5"]


def test_truncated_files_keep_what_came_before(tmp_path):
    content = citations(citation("1"), citation("2"))
    assert [d if isinstance(d, str) else d.pmid for d in read(tmp_path, content[:-60])] == ["1", "truncated_xml"]
    assert read(tmp_path, citations(citation("1"), tail="\n"))[1:] == ["truncated_xml"]
    assert [d.pmid for d in read(tmp_path, citation("1").encode())] == ["1"]  # one article alone is no set
    between = citations(citation("1"), tail="\n")
    assert [d if isinstance(d, str) else d.pmid for d in read(tmp_path, between + b"<Pubm")] == ["1", "truncated_xml"]
    packed = gzip.compress(citations(*(citation(str(i), title=f"{i * i}") for i in range(1, 3000))))[:-3000]
    found = read(tmp_path, packed, name="x.xml.gz")
    assert found[-1] == "truncated_gzip"
    assert [document.pmid for document in found[:-1]] == [str(i) for i in range(1, len(found))]
    assert len(found) > 100


def test_deleted_citations_are_counted(tmp_path):
    deleted = '<DeleteCitation><PMID Version="1">11</PMID>\n<PMID Version="1">12</PMID></DeleteCitation>'
    file = real_file(tmp_path / "x.xml", citations(citation("1"), deleted))
    [(_, document), *rejects] = sources.read(pubmed_xml, [file])
    assert document.pmid == "1"
    assert [(item.record, item.reason, item.detail) for item in rejects] == [
        (2, "deleted_citation", "11"),
        (3, "deleted_citation", "12"),
    ]
    broken = "<DeleteCitation><PMID>x</PMID><PMID>7</PMID></DeleteCitation><DeleteCitation><PMID></DeleteCitation>"
    assert read(tmp_path, citations(broken)) == ["bad_xml", "deleted_citation", "bad_xml"]
    assert read(tmp_path, citations("<DeleteCitation><PMID>1</PMID>", tail="")) == ["truncated_xml"]


def test_an_article_without_end_does_not_fill_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BLOCK_BYTES", 100)
    monkeypatch.setattr(pubmed_xml, "_LONGEST_ARTICLE", 1000)
    endless = "<PubmedArticle><MedlineCitation>" + "x" * 2000
    found = read(tmp_path, citations(citation("1"), endless, citation("3")))
    assert [item if isinstance(item, str) else item.pmid for item in found] == ["1", "record_too_long", "3"]


@pytest.mark.parametrize(
    ("issue", "electronic", "expected"),
    [
        ("<Year>2018</Year><Month>May</Month><Day>17</Day>", "", "2018-05-17"),
        ("<Year>2018</Year><Month>06</Month>", "", "2018-06"),
        ("<Year>2018</Year><Season>Spring</Season>", "", "2018"),
        ("<Year>2018</Year><Month>Feb</Month><Day>31</Day>", "", "2018-02"),
        ("<Year>2018</Year><Month>13</Month><Day>1</Day>", "", "2018"),
        ("<Year>0000</Year>", "", None),
        ("", "", None),
        ("<MedlineDate>1998 Dec-1999 Jan</MedlineDate>", "", "1998-12"),
        ("<MedlineDate>2000 Spring</MedlineDate>", "", "2000"),
        ("<MedlineDate>1975-1976</MedlineDate>", "", "1975"),
        ("<MedlineDate>Winter 1985</MedlineDate>", "", "1985"),
        ("<MedlineDate>2000 Dec 23- 30</MedlineDate>", "", "2000-12"),
        ("<MedlineDate>no date</MedlineDate>", "", None),
        ("<Year>2018</Year>", "<Year>2018</Year><Month>05</Month><Day>17</Day>", "2018-05-17"),
        ("<Year>2018</Year><Month>Jul</Month>", "<Year>2018</Year><Month>05</Month><Day>17</Day>", "2018-05-17"),
        ("<Year>1951</Year><Month>Jul</Month>", "<Year>2005</Year><Month>01</Month><Day>02</Day>", "1951-07"),
    ],
)
def test_dates_of_citations(tmp_path, issue, electronic, expected):
    journal = f"<Journal><JournalIssue><PubDate>{issue}</PubDate></JournalIssue><Title>The Journal</Title></Journal>"
    article = citation().replace("<Article>", f"<Article>{journal}")
    article = article.replace(
        "</Article>", f"<ArticleDate>{electronic}</ArticleDate></Article>" if electronic else "</Article>"
    )
    [document] = read(tmp_path, citations(article))
    assert (document.published, document.venue) == (expected, "The Journal")


def test_types_and_mesh_of_citations(tmp_path):
    types = (
        "<PublicationTypeList><PublicationType UI='D1'>Review</PublicationType><PublicationType/></PublicationTypeList>"
    )
    mesh = (
        "<MeshHeadingList><MeshHeading><DescriptorName>Animals</DescriptorName></MeshHeading><MeshHeading>"
        "<DescriptorName>Mice</DescriptorName><QualifierName>genetics</QualifierName></MeshHeading></MeshHeadingList>"
    )
    [document] = read(tmp_path, citations(citation(more=mesh).replace("</Article>", types + "</Article>")))
    assert document.publication_types == ("Review",)
    assert document.mesh == ("Animals", "Mice")


def test_marks_in_labels_are_taken_out(tmp_path):
    [document] = read(tmp_path, citations(citation(abstract='<AbstractText Label="&#xFDD0;A">x</AbstractText>')))
    assert document.text == "\ufffdA: x"


def test_other_encodings(tmp_path):
    latin = citations(citation(title="Über")).decode().replace('encoding="utf-8"', "encoding='ISO-8859-1'")
    assert read(tmp_path, latin.encode("latin-1"))[0].title == "Über"
    assert read(tmp_path, latin.replace("ISO-8859-1", "no-such").encode()) == ["bad_xml"]


def test_a_foreign_file(tmp_path):
    assert read(tmp_path, b"<html>not found</html>") == ["not_pubmed_xml"]
    assert read(tmp_path, citations()) == []


def test_entity_bombs_are_refused_quickly(tmp_path):
    began = time.monotonic()
    bomb = citation("1", abstract="<AbstractText>&a11;</AbstractText>")
    content = BOMB + citations(bomb, citation("2")).split(b"\n", 1)[1]
    assert [item if isinstance(item, str) else item.pmid for item in read(tmp_path, content)] == ["xml_entities", "2"]
    for body in (b"<article>&a11;</article>", b'<article x="&a11;"/>', b"<article>no use</article>"):
        [reason] = read(tmp_path, BOMB + body, jats)
        assert reason == "xml_entities"
    assert time.monotonic() - began < 2


def test_external_entities_are_not_fetched(tmp_path):
    (tmp_path / "secret").write_text("secret")
    doctype = f'<!DOCTYPE article [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]>'
    assert read(tmp_path, (doctype + article(body="<p>&x;</p>")).encode(), jats) == ["xml_entities"]


def test_deep_nesting_is_refused(tmp_path):
    body = "<sec>" * 5000 + "</sec>" * 5000
    assert read(tmp_path, article(body=body).encode(), jats) == ["bad_xml"]


@pytest.mark.parametrize("tag", ["p", "sec", "italic", "list"])
def test_nesting_that_xml_allows_is_kept_or_set_aside(source_file, tag):
    body = f"<{tag}>" * 245 + "text" + f"</{tag}>" * 245
    [found] = sources.read(jats, [source_file("x.xml", article(body))])
    assert isinstance(found, sources.Reject) or "text" in found[1].text


META = (
    '<article-id pub-id-type="pmid">12</article-id><article-id pub-id-type="pmc">34</article-id>'
    '<article-id pub-id-type="doi">10.1371/Journal.X</article-id>'
    "<title-group><article-title>On <italic>E. coli</italic></article-title></title-group>"
)


def article(body="", meta=META, back="", kind="research-article"):
    return (
        f'<article article-type="{kind}" xmlns:xlink="http://www.w3.org/1999/xlink"'
        f' xmlns:mml="http://www.w3.org/1998/Math/MathML"><front><article-meta>{meta}</article-meta></front>'
        f"<body>{body}</body><back>{back}</back></article>"
    )


REFERENCES = (
    '<ack><p>Thanks.</p></ack><ref-list><title>References</title><ref id="r1"><mixed-citation><name>'
    "<surname>Doe</surname></name>"
    "<article-title>A study of one two three four five six seven eight nine ten eleven.</article-title>"
    '</mixed-citation></ref><ref id="r2"><element-citation><surname>Roe</surname><source>The Book</source>'
    '</element-citation></ref><ref id="r3"><mixed-citation>unparsed</mixed-citation></ref></ref-list>'
)
DOE = "[bib_ref]A study of one two three four five six seven eight nine..., Doe[/bib_ref]"
FIGURE = (
    '<fig id="f1"><label>Figure 1</label><caption><title>The dose.</title><p>It rises (a lot).</p></caption>'
    '<graphic xlink:href="x"/></fig>'
)


def body_of(readable, body, back=REFERENCES):
    return readable(jats.parse(article(body, back=back).encode()).text)


def test_sections_paragraphs_and_back_matter(readable):
    meta = META + (
        "<abstract><p>In short.</p></abstract><abstract abstract-type='teaser'><p>Wow</p></abstract>"
        "<abstract abstract-type='summary'><title>Author summary</title><sec><title>Why</title><p>So.</p></sec>"
        "</abstract>"
    )
    body = (
        "<p>Before.</p><sec><title>Introduction</title><p>One\n   two.</p><sec><label>1.1</label><title>Deeper</title>"
        "<p>Three.</p></sec></sec><sec><title>Empty</title></sec><sec><title>Acknowledgments</title><p>Thanks</p></sec>"
    )
    back = (
        "<app-group><app><title>Appendix</title><p>More.</p></app></app-group><fn-group><fn><p>No.</p></fn></fn-group>"
    )
    text = readable(jats.parse(article(body, meta, back + REFERENCES).encode()).text)
    assert text == (
        "# Abstract\nIn short.\n\n# Author summary\n\n## Why\nSo.\nBefore.\n\n# Introduction\nOne two.\n\n## Deeper\n"
        "Three.\n\n# Appendix\nMore."
    )


def test_identifiers_title_and_namespaces():
    document = jats.parse(article("<p>x</p>").encode())
    assert (document.title, document.pmid, document.pmcid, document.doi) == (
        "On E. coli",
        "12",
        "34",
        "10.1371/journal.x",
    )
    spaced = article("<p>x</p>").replace("<article ", '<article xmlns="https://jats.nlm.nih.gov/ns" ', 1)
    assert jats.parse(spaced.encode()) == document
    wrapped = f"<pmc-articleset>{article('<p>x</p>')}</pmc-articleset>"
    assert jats.parse(wrapped.encode()) == document


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("known [<xref ref-type='bibr' rid='r1'>1</xref>].", f"known {DOE}."),
        ("known<sup><xref ref-type='bibr' rid='r1'>1</xref></sup>.", f"known {DOE} ."),
        ("see <xref ref-type='bibr' rid='r2'>2</xref>", "see [bib_ref]The Book, Roe[/bib_ref]"),
        ("see<xref ref-type='bibr' rid='r3'>3</xref>there", "see there"),
        ("as <xref ref-type='bibr' rid='r9'>Smith (2010)</xref> says", "as Smith (2010) says"),
        ("10<sup>6</sup> mm<sup>2</sup> <sup>18</sup>F CO<sub>2</sub> 10<sup>-3</sup>", "10^6 mm2 18F CO2 10^-3"),
        ("p &lt; 0.05 and [18F]FDG", "p < 0.05 and [18F]FDG"),
        ("a<fn><p>note</p></fn>b <xref ref-type='fn' rid='x'>*</xref>c", "ab c"),
        ("see <xref ref-type='sec' rid='s2'>Section 2</xref>.", "see Section 2."),
        ("&alpha;", None),
    ],
)
def test_running_text(text, expected, readable):
    if expected is None:
        doctype = '<!DOCTYPE article PUBLIC "-//NLM//DTD JATS//EN" "journalpublishing.dtd">'
        document = jats.parse((doctype + article(f"<p>{text}</p>")).encode())
        assert document.text == "α"
    else:
        assert body_of(readable, f"<p>{text}</p>") == expected


def test_figures_and_tables(readable):
    table = (
        '<table-wrap id="t1"><label>Table 1.</label><caption><p>The numbers.</p></caption><table><tr><td>5</td></tr>'
        "</table><table-wrap-foot><p>foot</p></table-wrap-foot></table-wrap>"
    )
    body = (
        f"<p>See (<xref ref-type='fig' rid='f1'>Fig 1A</xref>) {FIGURE} and "
        "<xref ref-type='table' rid='t1'>Table 1</xref>; <xref ref-type='fig' rid='f9'>Fig 9</xref>.</p>"
        f"{table}<p>After.</p>"
    )
    assert body_of(readable, body) == (
        "See [fig_ref]Figure 1: The dose[/fig_ref] and [fig_ref]Table 1: The numbers[/fig_ref] ; Fig 9.\n"
        "[fig]Figure 1: The dose. It rises (a lot).[/fig]\n[table]Table 1: The numbers.[/table]\nAfter."
    )


def test_lists_definitions_quotes_and_stray_text(readable):
    body = (
        "<sec>stray<list><list-item><p>one</p></list-item><list-item><p>two</p></list-item></list>tail"
        "<def-list><def-item><term>DNA</term><def><p>an acid</p></def></def-item><def-item><term>RNA</term></def-item>"
        "</def-list><disp-quote><p>quoted</p></disp-quote><p>in <list><list-item><p>a</p></list-item></list> out</p>"
        "</sec>"
    )
    assert body_of(readable, body) == "stray\n- one\n- two\ntail\nDNA: an acid\nRNA\nquoted\nin\n- a\nout"


def test_formulas(readable):
    tex = r"\documentclass{a}\begin{document}$$x^2 + 1$$\end{document}"
    mathml = (
        "<mml:math><mml:mfrac><mml:mrow><mml:mi>a</mml:mi><mml:mo>+</mml:mo><mml:mi>b</mml:mi></mml:mrow><mml:msub>"
        "<mml:mi>c</mml:mi><mml:mn>1</mml:mn></mml:msub></mml:mfrac></mml:math>"
    )
    body = (
        f"<p>Where <inline-formula>{mathml}</inline-formula> and<disp-formula><label>(1)</label>"
        f"<tex-math>{tex}</tex-math></disp-formula>holds.</p><disp-formula><alternatives>{mathml}<graphic/></alternatives></disp-formula>"
        "<disp-formula><graphic/></disp-formula>"
    )
    assert body_of(readable, body) == (
        "Where (a+b)/(c_1) and\n[formula]x^2 + 1[/formula]\nholds.\n[formula](a+b)/(c_1)[/formula]"
    )


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [
        ('<license xlink:href="http://creativecommons.org/licenses/by/4.0/"><license-p>x</license-p></license>',
         "cc-by"),
        ("<license><license-p>the Creative Commons Attribution License, which permits unrestricted use, distribution,"
         " and</license-p></license>", "cc-by"),
        ("<license><p>Creative Commons Attribution-NonCommercial-NoDerivs</p></license>", "cc-by-nc-nd"),
        ('<license><license-p><ext-link xlink:href="https://creativecommons.org/publicdomain/zero/1.0/"/></license-p>'
         "</license>", "cc0"),
        ("<copyright-statement>Doe. Creative Commons Attribution License.</copyright-statement>", "cc-by"),
        ("<copyright-statement>© Doe</copyright-statement>", "unknown"),
        ("<license><p>Ask us first.</p></license>", "ask-us-first."),
        ("", "unknown"),
    ],
)  # fmt: skip
def test_licences(permissions, expected):
    meta = META + f"<permissions>{permissions}</permissions>"
    assert jats.parse(article("<p>x</p>", meta).encode()).licence == expected


def test_retractions():
    assert jats.parse(article("<p>x</p>", kind="retraction").encode()).retracted
    meta = META + '<related-article related-article-type="retraction-forward"/>'
    assert jats.parse(article("<p>x</p>", meta).encode()).retracted
    assert not jats.parse(article("<p>x</p>").encode()).retracted


def test_metadata_of_an_article():
    dates = (
        '<pub-date pub-type="collection"><year>2015</year></pub-date>'
        '<pub-date pub-type="epub"><day>9</day><month>3</month><year>2015</year></pub-date>'
        '<pub-date date-type="preprint"><year>2014</year></pub-date>'
    )
    whole = article("<p>x</p>", META + dates, kind="review-article").replace(
        "<front>", "<front><journal-meta><journal-title-group><journal-title>The Journal</journal-title>"
        "</journal-title-group></journal-meta>",
    )  # fmt: skip
    document = jats.parse(whole.encode())
    assert (document.published, document.venue) == ("2015-03-09", "The Journal")
    assert document.publication_types == ("Review",)
    plain = jats.parse(article("<p>x</p>", kind="other").encode())
    assert (plain.published, plain.venue, plain.publication_types) == (None, "", ())
    old = whole.replace("<journal-title-group>", "").replace("</journal-title-group>", "")
    assert jats.parse(old.encode()).venue == "The Journal"


def test_names_of_types_are_pubmeds():
    """Those that upsampling knows are spelled as it spells them."""
    known = {*Upsampling().publication_types, *Upsampling().excluded_types}
    others = {"Journal Article", "Case Reports", "Clinical Trial", "Published Erratum", "Expression of Concern"}
    others |= {"Introductory Journal Article", "Congress", "News"}
    assert {*jats.PUBLICATION_TYPES.values()} <= known | others


def test_a_set_of_articles(tmp_path):
    bad = article("<p>broken").replace("</body>", "")
    several = [article("<p>one &alpha;</p>"), bad, article("<p>three</p>"), "<article><front/>", article("<p>five</p>")]
    expected = ["one α", "bad_xml", "three", "bad_xml", "five"]
    for begin, end in (("<pmc-articleset>", "</pmc-articleset>"), ("<OAI-PMH><record>", "</record></OAI-PMH>\n")):
        found = read(tmp_path, f"{begin}{''.join(several)}{end}".encode(), jats)
        assert [item if isinstance(item, str) else item.text for item in found] == expected
    found = read(tmp_path, f"<pmc-articleset>{several[0]}{several[2]}".encode(), jats)
    assert found[2:] == ["truncated_xml"]
    found = read(tmp_path, f"<pmc-articleset>{several[0]}{several[2][:-50]}".encode(), jats)
    assert found[1:] == ["truncated_xml"]
    spaced = article("<p>x</p>").replace("<article ", '<article xmlns="https://jats.nlm.nih.gov/ns" ', 1)
    found = read(tmp_path, f"<OAI-PMH xmlns='urn:oai'>{spaced}{spaced}</OAI-PMH>".encode(), jats)
    assert [document.text for document in found] == ["x", "x"]


def test_a_response_within_an_article_is_no_article_of_its_own(tmp_path):
    whole = article("<p>x</p>").replace("</article>", "<sub-article><body><p>y</p></body></sub-article></article>")
    [document] = read(tmp_path, whole.encode(), jats)
    assert document.text == "x"


def packed(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize(("name", "pack"), [("x.tar", bytes), ("x.tar.gz", gzip.compress), ("x.tgz", gzip.compress)])
def test_packages(tmp_path, name, pack):
    one, two = (article(f"<p>{text}</p>").encode() for text in ("one", "two"))
    archive = packed(("a/1.nxml", one), ("a/1.jpg", b"\xff"), ("a/2.xml", b"<html/>"), ("b/3.XML", two))
    found = read(tmp_path, pack(archive), jats, name)
    assert [item if isinstance(item, str) else item.text for item in found] == ["one", "not_jats", "two"]
    found = read(tmp_path, pack(archive[:1500]), jats, name)
    assert [item if isinstance(item, str) else item.text for item in found] == ["one", "truncated_tar"]


def test_a_file_too_large_for_an_article(tmp_path):
    large = article("<p>" + "x" * 1000 + "</p>").encode()
    limits = Limits(record_bytes=1000)
    assert read(tmp_path, large, jats, limits=limits) == ["file_too_large"]
    assert read(tmp_path, packed(("1.xml", large)), jats, "x.tar", limits) == ["file_too_large"]


def test_references_without_end_are_refused(monkeypatch):
    monkeypatch.setattr(jats_body, "MOST_REFERENCE_CHARACTERS", 1000)
    body = "<p>" + "<xref ref-type='bibr' rid='r1'/>" * 20 + "</p>"
    with pytest.raises(RejectedError, match="text_too_long"):
        jats.parse(article(body, back=REFERENCES).encode())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "bad_xml"),
        (b"<article>", "bad_xml"),
        (b"<html/>", "not_jats"),
        (b"<article><front/></article>", "not_jats"),
        (f"<set>{article('x')}{article('y')}</set>".encode("utf-16"), "several_articles"),  # such are not cut
        (article().encode(), "empty_text"),
        (article(body="<sec><title>Only a title</title></sec>").encode(), "empty_text"),
        (b"\xff\xfe\x00", "bad_xml"),
    ],
)
def test_bad_articles(tmp_path, content, reason):
    assert read(tmp_path, content, jats) == [reason]


tags = st.sampled_from(
    [
        "sec",
        "title",
        "p",
        "fig",
        "label",
        "caption",
        "xref",
        "list",
        "list-item",
        "def-list",
        "def-item",
        "disp-formula",
        "sup",
        "table-wrap",
    ]
)
trees = st.recursive(
    st.sampled_from(["", "text", "&amp;", "&#945;"]),
    lambda inner: st.tuples(tags, st.lists(inner, max_size=3)).map(lambda t: f"<{t[0]}>{''.join(t[1])}</{t[0]}>"),
    max_leaves=15,
)


@given(body=trees)
def test_any_nesting_gives_a_document_or_a_reason(body):
    try:
        outcome = jats.parse(article(body, back=body).encode()).text
    except RejectedError as error:
        outcome = error.reason
    assert outcome


def test_mathml_forms():
    def formula(content):
        return xml.formula(xml.parsed(f'<math xmlns="http://www.w3.org/1998/Math/MathML">{content}</math>'.encode()))

    assert formula("<msup><mi>x</mi><mn>2</mn></msup>") == "x^2"
    assert formula("<msubsup><mi>x</mi><mn>1</mn><mn>2</mn></msubsup>") == "x_1^2"
    assert formula("<msqrt><mi>x</mi></msqrt>") == "sqrt(x)"
    assert formula("<semantics><mi>x</mi><annotation>y</annotation></semantics>") == "x"
    assert formula("<mfrac><mi>x</mi></mfrac>") == "x"
    assert formula("") == ""


def test_real_pubmed(real_data):
    found = [payload for _, payload in pubmed_xml.records(real_file(real_data / "pubmed_xml" / "pubmed_mini.xml.gz"))]
    documents = [pubmed_xml.parse(payload) for i, payload in enumerate(found) if i != 1]
    assert len(found) == 10
    with pytest.raises(RejectedError, match="empty_text"):
        pubmed_xml.parse(found[1])
    assert documents[0].title == "Inhaled Combined Budesonide-Formoterol as Needed in Mild Asthma."
    assert (
        "BACKGROUND: In patients with mild asthma, as-needed use of an inhaled glucocorticoid plus a fast-acting β2-"
        in (documents[0].text)
    )
    assert all(document.pmid for document in documents)


def test_real_jats(real_data):
    paths = sorted(real_data.glob("plos_jats/*.xml")) + sorted(real_data.glob("pmc_nxml/*.nxml"))
    documents = [jats.parse(payload) for path in paths for _, payload in jats.records(real_file(path))]
    assert len(documents) == 67
    assert all(document.title and document.doi and len(document.text) > 1000 for document in documents)
    assert sum(document.licence in ("cc-by", "cc0", "public-domain") for document in documents) == 65
    assert not any("<" in document.title for document in documents)
