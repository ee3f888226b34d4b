"""XML that expands, reads files or asks servers when it is parsed."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from components.corpus import sources
from components.corpus.sources import FORMATS, Reject
from components.platform.data import SourceFile

SECRET = "what the file says"


@pytest.fixture
def visits():
    """What a server on loopback was asked for, after its address."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'<!ENTITY x "fetched">')

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    yield "http://{}:{}".format(*server.server_address), asked
    server.shutdown()
    server.server_close()


ARTICLE = (
    "<article><front><article-meta><title-group><article-title>T</article-title></title-group></article-meta></front>"
    "<body><p>text {}</p></body></article>"
)
CITATION = (
    "<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID>1</PMID><Article><ArticleTitle>T</ArticleTitle>"
    "<Abstract><AbstractText>text {}</AbstractText></Abstract></Article></MedlineCitation></PubmedArticle>"
    "</PubmedArticleSet>"
)
LAUGHS = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
ATTACKS = {
    "billion laughs": ('<!DOCTYPE x [<!ENTITY a0 "ha">' + LAUGHS + "]>", "&a11;"),
    "quadratic": (f'<!DOCTYPE x [<!ENTITY a "{"a" * 50_000}">]>', "&a;" * 50_000),
    "file": ('<!DOCTYPE x [<!ENTITY x SYSTEM "file://{secret}">]>', "&x;"),
    "server": ('<!DOCTYPE x [<!ENTITY x SYSTEM "{server}/entity">]>', "&x;"),
    "parameter entity": ('<!DOCTYPE x [<!ENTITY % p SYSTEM "{server}/parameter"> %p;]>', "&x;"),
    "DTD": ('<!DOCTYPE x SYSTEM "{server}/dtd">', "&x;"),
    "XInclude": ("", '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{secret}" parse="text"/>'),
    "stylesheet": ('<?xml-stylesheet href="{server}/style" type="text/xsl"?>', "&x;"),
}


@pytest.mark.parametrize(("reader", "form"), [("jats", ARTICLE), ("pubmed_xml", CITATION)])
@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_is_expanded_read_or_fetched(tmp_path, visits, reader, form, attack):
    """Each such record is set aside, or read without what it refers to. A declaration in front of a set that is cut
    into its records is not theirs, so there the reference is to nothing."""
    server, asked = visits
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    head, use = (part.replace("{server}", server).replace("{secret}", str(secret)) for part in ATTACKS[attack])
    (tmp_path / "x.xml").write_text(f'<?xml version="1.0"?>{head}{form.format(use)}')
    file = SourceFile("x.xml", str(tmp_path / "x.xml"), (tmp_path / "x.xml").stat().st_size, "")
    [found] = sources.read(FORMATS[reader], [file])
    if attack == "XInclude":
        assert found[1].text.strip() == "text"
    else:
        assert isinstance(found, Reject)
        assert found.reason in {"xml_entities", "bad_xml"}
    assert SECRET not in repr(found)
    assert asked == []


@pytest.mark.parametrize("encoding", ["zlib_codec", "hex", "rot13", "punycode", "idna", "unicode_escape", "undefined"])
def test_encodings_that_are_no_character_sets(tmp_path, encoding):
    """Python knows codecs by these names that decode no text, or take quadratic time for it."""
    content = f'<?xml version="1.0" encoding="{encoding}"?>' + CITATION.format("x" * 1000)
    (tmp_path / "x.xml").write_text(content)
    [found] = sources.read(FORMATS["pubmed_xml"], [SourceFile("x.xml", str(tmp_path / "x.xml"), len(content), "")])
    assert (found.reason, found.detail) == ("bad_xml", f"unknown encoding {encoding}")


@pytest.mark.parametrize(("reader", "form"), [("jats", ARTICLE), ("pubmed_xml", CITATION)])
def test_elements_within_elements(tmp_path, reader, form):
    content = form.format("<sec>" * 100_000 + "</sec>" * 100_000)
    (tmp_path / "x.xml").write_text(content)
    [found] = sources.read(FORMATS[reader], [SourceFile("x.xml", str(tmp_path / "x.xml"), len(content), "")])
    assert found.reason in {"bad_xml", "nested_too_deep"}
