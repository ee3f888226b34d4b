"""Reading files: every line is one record, whatever is wrong with the file."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.corpus import sources
from components.corpus.sources import FORMATS, Reject, files
from components.corpus.sources.document import RejectedError


def read(name, file):
    return list(sources.read(FORMATS[name], [file]))


def test_lines_have_their_numbers_and_blank_ones_do_not_count(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a":1}\n\n  \n{"b":2}\r\nlast')
    assert list(files.lines(path)) == [(1, b'{"a":1}'), (4, b'{"b":2}\r'), (5, b"last")]


def test_lines_longer_than_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BLOCK_BYTES", 7)
    (tmp_path / "x").write_bytes(b"a" * 30 + b"\n" + b"b" * 5 + b"\n")
    assert list(files.lines(tmp_path / "x")) == [(1, b"a" * 30), (2, b"b" * 5)]


def test_gzip_of_several_members(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"one\nt") + gzip.compress(b"wo\n") + b"\0\0")
    assert list(files.lines(path)) == [(1, b"one"), (2, b"two")]


@pytest.mark.parametrize("second", [b"", gzip.compress(b"")])
def test_gzip_with_an_empty_member(tmp_path, second):
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"one\n") + second)
    assert list(files.lines(tmp_path / "x.gz")) == [(1, b"one")]


def test_truncated_gzip_keeps_the_lines_before(source_file):
    rows = [{"title": f"T{i}", "text": f"text number {i} " * 40} for i in range(2000)]
    file = source_file("g.jsonl.gz", rows, gzipped_content_cut=-2000)
    found = read("guidelines", file)
    *documents, last = found
    assert len(documents) > 100
    assert all(document.title == f"T{i}" for i, (_, document) in enumerate(documents))
    assert last == Reject("g.jsonl.gz", len(documents) + 1, "truncated_gzip", last.detail)


@pytest.mark.parametrize("keep", [0, 1, 5, 12])
def test_gzip_cut_in_its_first_bytes(tmp_path, keep):
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"hello\n" * 10)[:keep])
    records = list(files.lines(tmp_path / "x.gz"))
    if keep == 0:
        assert records == []  # an empty file has no records; an empty source is an error of the stage
    else:
        [(number, error)] = records
        assert (number, error.reason) == (1, "truncated_gzip")


def test_damaged_gzip(tmp_path):
    data = bytearray(gzip.compress(b"".join(b"line %d\n" % (i * i) for i in range(20000))))
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "x.gz").write_bytes(data)
    records = list(files.lines(tmp_path / "x.gz"))
    assert isinstance(records[-1][1], RejectedError)
    assert records[-1][1].reason in ("bad_gzip", "truncated_gzip")
    assert all(isinstance(payload, bytes) for _, payload in records[:-1])


def test_a_file_that_is_not_gzip(tmp_path):
    (tmp_path / "x.gz").write_bytes(b'{"text": "plain"}\n')
    [(_, error)] = files.lines(tmp_path / "x.gz")
    assert error.reason == "bad_gzip"


def test_bad_lines_are_set_aside_and_the_rest_is_read(source_file):
    good = json.dumps({"title": "T", "text": "body"})
    lines = [
        good,
        "{broken",
        "[1, 2]",
        '"text"',
        '{"title": "no text"}',
        '{"text": ""}',
        '{"text": " \\n "}',
        '{"text": 5}',
        '{"title": 5, "text": "x"}',
        '{"text": "\\ud800"}',
        good,
    ]
    file = source_file("g.jsonl", "\n".join(lines) + "\n")
    found = read("guidelines", file)
    reasons = [item.reason if isinstance(item, Reject) else "kept" for item in found]
    assert reasons == [
        "kept",
        "bad_json",
        "bad_json",
        "bad_json",
        "missing_field",
        "empty_text",
        "empty_text",
        "wrong_type",
        "wrong_type",
        "bad_json",
        "kept",
    ]
    assert [item.record for item in found if isinstance(item, Reject)] == list(range(2, 11))
    assert found[0][0] == "g.jsonl:1"
    assert found[-1][0] == "g.jsonl:11"


def test_bytes_that_are_not_utf8(source_file):
    file = source_file("g.jsonl", b'{"text": "\xff\xfe"}\n{"text": "fine"}\n')
    assert [getattr(item, "reason", "kept") for item in read("guidelines", file)] == ["bad_json", "kept"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
known_keys = st.sampled_from(
    ["text", "title", "content", "abstract", "corpusid", "externalids", "openaccessinfo", "meta", "annotations",
     "source", "bibref", "figure", "paragraph", "start", "end", "attributes", "oainfo", "license", "copyright"]
)  # fmt: skip
strange_rows = st.recursive(
    json_values,
    lambda inner: st.dictionaries(known_keys, inner, max_size=5),
    max_leaves=12,
)


@pytest.mark.parametrize("name", ["guidelines", "s2orc", "abstracts", "papers", "redpajama"])
@given(rows=st.lists(strange_rows | st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"")), max_size=6))
def test_no_row_is_lost_uncounted(name, rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / "x.jsonl"
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines))
    file = sources.SourceFile("x.jsonl", path, 0, "")
    assert len(read(name, file)) == sum(bool(line.strip()) for line in lines)


@pytest.mark.parametrize("name", list(FORMATS))
@given(data=st.binary(max_size=200))
def test_no_bytes_break_a_reader(name, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    for suffix, content in (("x", data), ("x.gz", data), ("y.gz", gzip.compress(data)[: len(data) + 9])):
        (folder / suffix).write_bytes(content)
        read(name, sources.SourceFile(suffix, folder / suffix, 0, ""))
