"""Compressed files and archives that expand without end, or name places outside of where they are read."""

import gzip
import io
import json
import tarfile

import orjson
import pyarrow as pa
import pytest

from components.corpus import sources
from components.corpus.ledger import LEDGER, Ledger
from components.corpus.limits import Limits
from components.corpus.plan import Shard
from components.corpus.prepare import REJECTS, prepare
from components.corpus.settings import CorpusSettings, ShardSettings
from components.corpus.sources import FORMATS, Reject
from components.platform.data import SourceFile

TIGHT = Limits(record_bytes=1 << 20, expansion=10)
ARTICLE = (
    b"<article><front><article-meta><title-group><article-title>T</article-title></title-group></article-meta></front>"
    b"<body><p>%b</p></body></article>"
)


def packed(name, content):
    return gzip.compress(content) if name.endswith("gz") else pa.compress(content, codec="zstd", asbytes=True)


def source(path, content):
    path.write_bytes(content)
    return SourceFile(path.name, str(path), len(content), "sha256:" + "0" * 64)


def reasons(reader, file, limits=TIGHT):
    found = sources.read(FORMATS[reader], [file], limits)
    return [record.reason if isinstance(record, Reject) else "kept" for record in found]


ROWS = json.dumps({"title": "T", "text": "the same again"}).encode() + b"\n"


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.jsonl.zst"])
@pytest.mark.parametrize("line", [ROWS, b"\n", b"\0"], ids=["rows", "blank lines", "one line without end"])
def test_a_bomb_of_lines_is_cut_off_and_counted(tmp_path, name, line):
    """64 MB from some KB: a million records, or none, or one that is as long as the file."""
    content = packed(name, line * ((64 << 20) // len(line)))
    file = source(tmp_path / name, content)
    assert len(content) < 300_000
    found = reasons("guidelines", file)
    assert found[-1] == "decompression_bomb"
    assert set(found[:-1]) <= {"kept"}
    assert len(found) <= 1 + TIGHT.expanded_bytes(len(content)) // len(line)


def test_what_text_expands_to_is_no_bomb(tmp_path):
    rows = b"".join(b'{"text": "note %d on %d"}\n' % (number, number * number) for number in range(100_000))
    file = source(tmp_path / "x.jsonl.gz", gzip.compress(rows))
    assert set(reasons("guidelines", file)) == {"kept"}


def test_the_bomb_is_in_the_ledger_and_among_the_rejects(tmp_path):
    text = {"title": "A note", "text": "Give the patient fluids and look again after four hours. " * 3}
    content = gzip.compress((json.dumps(text).encode() + b"\n") * 100_000)
    shard = Shard("notes", 0, (source(tmp_path / "x.jsonl.gz", content),))
    settings = CorpusSettings(
        sources=[{"name": "notes", "group": "guidelines", "format": "guidelines", "paths": ["*"]}],
        tokenizer={"train": {"vocab_size": 300}},
        limits=TIGHT,
        near_duplicates=None,
    )
    (tmp_path / "out").mkdir()
    prepare(shard, ShardSettings.of(settings, settings.sources[0], ()), [], [], tmp_path / "out")
    ledger = Ledger()
    ledger.extend(orjson.loads((tmp_path / "out" / LEDGER).read_bytes()))
    assert ledger.drops("notes")["decompression_bomb"] == 1
    [reject] = [orjson.loads(line) for line in (tmp_path / "out" / REJECTS).read_bytes().splitlines()]
    assert (reject["file"], reject["reason"]) == ("x.jsonl.gz", "decompression_bomb")
    assert "raise corpus.limits.expansion" in reject["detail"]


@pytest.mark.parametrize(("reader", "name"), [("pubmed_xml", "x.xml.gz"), ("jats", "x.xml.gz"), ("jats", "x.tar.gz")])
def test_bombs_of_xml(tmp_path, reader, name):
    found = reasons(reader, source(tmp_path / name, gzip.compress(b" " * (64 << 20))))
    assert found[-1] in {"decompression_bomb", "file_too_large", "bad_tar"}
    assert len(found) == 1


def archive(*members, **options):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as file:
        for member, content in members:
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def member(name, kind=tarfile.REGTYPE, target=""):
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


def test_names_in_an_archive_lead_nowhere(tmp_path):
    """Members are read and never extracted: a name is no place, and what is not a regular file is not looked at."""
    secret = tmp_path / "secret.xml"
    secret.write_bytes(ARTICLE % b"secret")
    content = archive(
        (member("../../../../tmp/escaped.xml"), ARTICLE % b"up"),
        (member("/escaped.xml"), ARTICLE % b"absolute"),
        (member("a.xml", tarfile.SYMTYPE, str(secret)), b""),
        (member("b.xml", tarfile.LNKTYPE, str(secret)), b""),
        (member("c.xml", tarfile.CHRTYPE), b""),
        (member("d.xml", tarfile.FIFOTYPE), b""),
        (member("e.xml", tarfile.DIRTYPE), b""),
    )
    (tmp_path / "in").mkdir()
    file = source(tmp_path / "in" / "x.tar", content)
    before = sorted(tmp_path.rglob("*"))
    texts = [record[1].text for record in sources.read(FORMATS["jats"], [file])]
    assert [text.strip() for text in texts] == ["up", "absolute"]
    assert sorted(tmp_path.rglob("*")) == before


def test_members_with_holes_are_refused(tmp_path):
    """A sparse member of some bytes may claim any size."""
    holes = member("x.xml")
    holes.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 40)}
    content = archive((holes, b"<"), (member("y.xml"), ARTICLE % b"next"), format=tarfile.PAX_FORMAT)
    assert reasons("jats", source(tmp_path / "x.tar", content)) == ["sparse_file", "kept"]


@pytest.mark.parametrize("size", [1 << 60, -1024])
def test_a_member_of_an_impossible_size(tmp_path, size):
    liar = member("x.xml")
    liar.size = size
    content = liar.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024
    found = reasons("jats", source(tmp_path / "x.tar", content))
    assert found[-1] in {"truncated_tar", "bad_tar"}
    assert len(found) <= 2
