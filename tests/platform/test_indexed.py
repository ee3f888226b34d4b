"""Megatron's indexed format: bytes as Megatron reads them, round trips, and damaged files."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.platform.errors import InputError
from components.platform.indexed import IndexedDataset, IndexedWriter, smallest_dtype


def write(prefix, documents, dtype=np.uint16):
    with IndexedWriter(prefix, dtype) as writer:
        for document in documents:
            writer.add(document)
    return IndexedDataset(prefix)


def test_byte_layout_is_megatrons(tmp_path):
    write(tmp_path / "set", [[1, 2, 3], [4], [5, 65535]])
    assert (tmp_path / "set.bin").read_bytes() == struct.pack("<6H", 1, 2, 3, 4, 5, 65535)
    assert (tmp_path / "set.idx").read_bytes() == (
        b"MMIDIDX\x00\x00"
        + struct.pack("<Q", 1)  # version
        + struct.pack("<B", 8)  # uint16
        + struct.pack("<Q", 3)  # sequences
        + struct.pack("<Q", 4)  # entries of the document index
        + struct.pack("<3i", 3, 1, 2)
        + struct.pack("<3q", 0, 6, 8)
        + struct.pack("<4q", 0, 1, 2, 3)
    )


@pytest.mark.parametrize(("dtype", "code"), [(np.uint8, 1), (np.int32, 4), (np.int64, 5), (np.uint16, 8)])
def test_dtype_codes(tmp_path, dtype, code):
    dataset = write(tmp_path / "set", [[1, 100]], dtype)
    assert (tmp_path / "set.idx").read_bytes()[17] == code
    assert dataset.dtype == dtype
    assert dataset[0].tolist() == [1, 100]


@settings(deadline=None)
@given(
    documents=st.lists(st.lists(st.integers(0, 65535), max_size=20), max_size=20),
    cut=st.integers(0, 20),
)
def test_round_trip(tmp_path_factory, documents, cut):
    prefix = tmp_path_factory.mktemp("indexed") / "set"
    with IndexedWriter(prefix, np.uint16) as writer:
        first = documents[:cut]
        writer.add_many(np.array([t for d in first for t in d], dtype=np.uint16), [len(d) for d in first])
        for document in documents[cut:]:
            writer.add(np.array(document, dtype=np.int64))
    dataset = IndexedDataset(prefix)
    assert [document.tolist() for document in dataset] == documents
    assert dataset.lengths.tolist() == [len(document) for document in documents]
    assert dataset.lengths.dtype == np.int32
    assert dataset.num_tokens == sum(len(document) for document in documents)
    assert len(dataset) == len(documents)


def test_negative_index_and_bounds(tmp_path):
    dataset = write(tmp_path / "set", [[1], [2, 3]])
    assert dataset[-1].tolist() == [2, 3]
    with pytest.raises(IndexError, match="document 2 of 2"):
        dataset[2]


def test_tokens_are_read_only(tmp_path):
    with pytest.raises(ValueError, match="read-only"):
        write(tmp_path / "set", [[1]])[0][0] = 2


def test_megatron_has_no_uint32(tmp_path):
    with pytest.raises(ValueError, match="uint32: not a token type"):
        IndexedWriter(tmp_path / "set", np.uint32)


def test_smallest_dtype_is_megatrons_choice():
    assert smallest_dtype(65_499) == np.uint16
    assert smallest_dtype(65_500) == np.int32


@pytest.mark.parametrize("ids", [[70_000], [-1]])
def test_ids_that_do_not_fit_are_refused(tmp_path, ids):
    with pytest.raises(ValueError, match="do not fit"), IndexedWriter(tmp_path / "set", np.uint16) as writer:
        writer.add(ids)
    assert list(tmp_path.iterdir()) == []


def test_lengths_must_add_up(tmp_path):
    with pytest.raises(ValueError, match="add up to 3"), IndexedWriter(tmp_path / "set", np.uint16) as writer:
        writer.add_many([1, 2], [1, 2])


def test_nothing_appears_before_close(tmp_path):
    writer = IndexedWriter(tmp_path / "set", np.uint16)
    writer.add([1])
    assert [path.name for path in tmp_path.iterdir()] == [".set.bin.tmp"]
    writer.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set.bin", "set.idx"]


def test_prefix_may_hold_dots(tmp_path):
    write(tmp_path / "v1.5", [[1]])
    assert (tmp_path / "v1.5.bin").exists()


def test_missing_files(tmp_path):
    with pytest.raises(InputError, match=r"set\.idx: no such file"):
        IndexedDataset(tmp_path / "set")
    write(tmp_path / "set", [[1]])
    (tmp_path / "set.bin").unlink()
    with pytest.raises(InputError, match=r"set\.bin: no such file, though its index"):
        IndexedDataset(tmp_path / "set")


def test_every_truncation_is_noticed(tmp_path):
    write(tmp_path / "set", [[1, 2], [3]])
    for name in ("set.idx", "set.bin"):
        whole = (tmp_path / name).read_bytes()
        for size in range(len(whole)):
            (tmp_path / name).write_bytes(whole[:size])
            with pytest.raises(InputError, match="cut short|not a Megatron index"):
                IndexedDataset(tmp_path / "set")
        (tmp_path / name).write_bytes(whole)


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0, b"PK", "not a Megatron index"),
        (9, b"\x02", "version 2"),
        (17, b"\x63", "token type code 99"),
        (34, b"\xff\xff\xff\xff", "negative length"),
        (42, b"\xff" * 8, "begins before the file"),
        (42, b"\x00\x01", "cut short"),
    ],
)
def test_foreign_or_damaged_index(tmp_path, offset, value, message):
    write(tmp_path / "set", [[1, 2], [3]])
    data = bytearray((tmp_path / "set.idx").read_bytes())
    data[offset : offset + len(value)] = value
    (tmp_path / "set.idx").write_bytes(data)
    with pytest.raises(InputError, match=message):
        IndexedDataset(tmp_path / "set")


def test_megatrons_own_reader_agrees(tmp_path):
    indexed_dataset = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    write(tmp_path / "set", [[1, 2, 3], [4]])
    theirs = indexed_dataset.IndexedDataset(str(tmp_path / "set"))
    assert [list(document) for document in theirs] == [[1, 2, 3], [4]]
