"""Reading files: every line is one record, whatever is wrong with the file."""

import gzip
import json
import tracemalloc

import pyarrow as pa
import pytest

from components.corpus import sources
from components.corpus.sources import FORMATS, Reject, files
from components.corpus.sources.document import RejectedError
from components.platform.data import SourceFile


def read(name, file):
    return list(sources.read(FORMATS[name], [file]))


def lines(path, content):
    """The records in a file of lines with this content."""
    path.write_bytes(content)
    return list(files.lines(SourceFile(path.name, str(path), len(content), "")))


def test_lines_have_their_numbers_and_blank_ones_do_not_count(tmp_path):
    content = b'{"a":1}\n\n  \n{"b":2}\r\nlast'
    assert lines(tmp_path / "x.jsonl", content) == [(1, b'{"a":1}'), (4, b'{"b":2}\r'), (5, b"last")]


def test_lines_longer_than_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BLOCK_BYTES", 7)
    assert lines(tmp_path / "x", b"a" * 30 + b"\n" + b"b" * 5 + b"\n") == [(1, b"a" * 30), (2, b"b" * 5)]


def test_gzip_of_several_members(tmp_path):
    content = gzip.compress(b"one\nt") + gzip.compress(b"wo\n") + b"\0\0"
    assert lines(tmp_path / "x.gz", content) == [(1, b"one"), (2, b"two")]


@pytest.mark.parametrize("second", [b"", gzip.compress(b"", mtime=0)], ids=["none", "empty"])
def test_gzip_with_an_empty_member(tmp_path, second):
    assert lines(tmp_path / "x.gz", gzip.compress(b"one\n") + second) == [(1, b"one")]


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
    records = lines(tmp_path / "x.gz", gzip.compress(b"hello\n" * 10)[:keep])
    if keep == 0:
        assert records == []  # an empty file has no records; an empty source is an error of the stage
    else:
        [(number, error)] = records
        assert (number, error.reason) == (1, "truncated_gzip")


def test_damaged_gzip(tmp_path):
    data = bytearray(gzip.compress(b"".join(b"line %d\n" % (i * i) for i in range(20000))))
    data[len(data) // 2] ^= 0xFF
    records = lines(tmp_path / "x.gz", data)
    assert isinstance(records[-1][1], RejectedError)
    assert records[-1][1].reason in ("bad_gzip", "truncated_gzip")
    assert all(isinstance(payload, bytes) for _, payload in records[:-1])


def test_a_file_that_is_not_gzip(tmp_path):
    [(_, error)] = lines(tmp_path / "x.gz", b'{"text": "plain"}\n')
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


def compressed(name, content):
    return gzip.compress(content) if name.endswith(".gz") else pa.compress(content, codec="zstd", asbytes=True)


def test_zstd(tmp_path):
    packed = compressed("x.zst", b"one\ntwo\n")
    assert lines(tmp_path / "x.zst", packed) == [(1, b"one"), (2, b"two")]
    assert lines(tmp_path / "x.zst", packed + compressed("x.zst", b"three")) == [
        (1, b"one"),
        (2, b"two"),
        (3, b"three"),
    ]
    [(number, error)] = lines(tmp_path / "x.zst", b'{"text": "plain"}\n')
    assert (number, error.reason) == (1, "bad_zstd")


def test_truncated_zstd_keeps_the_lines_before(tmp_path):
    whole = b"".join(b"%d\n" % (i * i) for i in range(400_000))
    packed = compressed("x.zst", whole)
    *found, (_, error) = lines(tmp_path / "x.zst", packed[: len(packed) // 2])
    assert error.reason == "bad_zstd"
    assert len(found) > 1000
    assert all(line == b"%d" % ((number - 1) ** 2) for number, line in found)


@pytest.mark.parametrize("name", ["x.gz", "x.zst"])
def test_bombs_expand_a_block_at_a_time(tmp_path, name):
    """64 MB of zeros, packed into some KB: blocks stay small, and the file is read no faster than it is used."""
    content = compressed(name, bytes(64 << 20))
    assert len(content) < 1 << 18
    (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    try:
        before = pa.total_allocated_bytes()
        sizes, arrow = [], 0
        for block in files.blocks(SourceFile(name, str(tmp_path / name), len(content), "")):
            sizes.append(len(block))
            arrow = max(arrow, pa.total_allocated_bytes() - before)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= files.BLOCK_BYTES
    assert peak + arrow < 8 * files.BLOCK_BYTES
