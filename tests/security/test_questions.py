"""Benchmark files that expand, nest or go on without end: an error that names the file, in bounded memory."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.errors import InputError
from components.platform.questions import readers
from components.platform.questions.benchmark import load_benchmark
from components.platform.questions.readers import read_questions

ROW = {"id": "1", "question": "?", "opa": "a", "opb": "b", "opc": "c", "opd": "d", "cop": 0, "subject_name": "s"}
MEGABYTE = 1 << 20


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads the file x.* as MedMCQA, with room for 1 MB."""
    benchmark = load_benchmark("medmcqa").model_copy(update={"splits": {"test": {"questions": ["x.*"]}}})
    monkeypatch.setattr(readers, "MAX_FILE_BYTES", MEGABYTE)
    tracking = TrackingSettings(uri=f"sqlite:///{tmp_path}/mlflow.db")
    platform = PlatformSettings(data=str(tmp_path), workspace=str(tmp_path / "runs"), tracking=tracking)
    return lambda: read_questions(benchmark, "test", platform)


def table(rows, **columns):
    return pa.table({key: [value] * rows for key, value in ROW.items()} | columns)


def test_a_good_file(read, tmp_path):
    pq.write_table(table(1, more=[[1, 2]]), tmp_path / "x.parquet")
    assert [question.question for question in read()] == ["?"]


@pytest.fixture
def memory():
    """Arrow's memory, counted from here on."""
    before, pool = pa.default_memory_pool(), pa.system_memory_pool()
    pa.set_memory_pool(pool)
    yield pool
    pa.set_memory_pool(before)


LONG = "x" * (MEGABYTE // 16)
BOMBS = {
    "a long text that all rows share": (LONG, 2000, True),
    "long texts that compress well": (LONG, 2000, False),
    "rows that compress well": ("x", 200_000, True),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_parquet_that_expands(read, tmp_path, memory, bomb):
    text, rows, use_dictionary = BOMBS[bomb]
    options = {"compression": "zstd", "use_dictionary": use_dictionary}
    part = table(rows // 100, question=[text] * (rows // 100))
    with pq.ParquetWriter(tmp_path / "x.parquet", part.schema, **options) as file:
        for _ in range(100):
            file.write_table(part)
    assert (tmp_path / "x.parquet").stat().st_size < MEGABYTE
    del part
    before = memory.max_memory()
    with pytest.raises(InputError, match=r"x.parquet: more than 1,048,576 bytes of questions"):
        read()
    assert memory.max_memory() <= max(before, 8 * MEGABYTE)


def test_a_footer_that_hides_what_a_file_expands_to(read, tmp_path, monkeypatch):
    """Then rows are counted as they come."""
    pq.write_table(table(2000, question=[LONG] * 2000), tmp_path / "x.parquet", compression="zstd")
    size = pq.ParquetFile(tmp_path / "x.parquet").metadata.row_group(0).total_byte_size
    monkeypatch.setattr(readers, "MAX_FILE_BYTES", size)
    with pytest.raises(InputError, match="bytes of questions; this is no benchmark"):
        read()


def test_a_list_of_any_length_is_not_read(read, tmp_path):
    long = pa.ListArray.from_arrays([0, 5_000_000], pa.nulls(5_000_000, pa.int8()))
    pq.write_table(table(1, more=long), tmp_path / "x.parquet", compression="zstd")
    assert (tmp_path / "x.parquet").stat().st_size < MEGABYTE
    assert len(read()) == 1


@pytest.mark.parametrize("damage", ["cut", "magic", "footer", "pickle"])
def test_parquet_that_is_none(read, tmp_path, damage):
    path = tmp_path / "x.parquet"
    pq.write_table(table(1), path)
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "magic": b"XXXX" + content[4:],
            "footer": content[:-8] + b"\xff\xff\xff\x7fPAR1",
            "pickle": b"\x80\x04K\x05.",
        }[damage]
    )
    if damage == "magic":  # only the end is looked for
        read()
    else:
        with pytest.raises(InputError, match=r"x.parquet: not valid Parquet"):
            read()


@pytest.mark.parametrize(
    "line", ["[" * 1_000_000, '{"a":' * 100_000, json.dumps(ROW)[:-1] + ', "n": ' + "9" * 5000 + "}"]
)
def test_json_that_nests_without_end(read, tmp_path, line):
    (tmp_path / "x.json").write_text(json.dumps(ROW | {"cop": 1}) + "\n" + line)
    with pytest.raises(InputError, match=r"x.json:2: not valid JSON"):
        read()


def test_a_line_without_end(read, tmp_path):
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(1 << 40)  # holes: it takes no room
    # Files are known by their content, so this is not resolved but read as it lies
    source = readers.SourceFile("x.json", str(tmp_path / "x.json"), 1 << 40, "")
    with pytest.raises(InputError, match="x.json: more than 1,048,576 bytes"):
        readers._content(source)
