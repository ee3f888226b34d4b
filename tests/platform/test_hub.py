"""Datasets of the Hugging Face hub, read with the real libraries from a small hub on loopback."""

import base64
import gzip
import io
import json
import subprocess
import sys
import traceback
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from components.platform import data
from components.platform.errors import InputError
from components.platform.source import hub
from tests.platform.conftest import HUB_TOKEN

pytestmark = pytest.mark.slow

TWO_CONFIGS = b"""---
configs:
- config_name: notes
  data_files:
  - split: train
    path: notes/*.jsonl
  - split: test
    path: test.jsonl
- config_name: letters
  data_files: letters.jsonl
---
"""


@pytest.fixture
def notes(server):
    """The commit of a dataset of two configs."""
    files = {
        "README.md": TWO_CONFIGS,
        "notes/a.jsonl": rows(0, 1000),
        "notes/b.jsonl": rows(1000, 1010),
        "test.jsonl": rows(5000, 5001),
        "letters.jsonl": b'{"letter": "\xc3\xa4"}\n',
    }
    return server.commit("clinic/notes", files)


def rows(start, end):
    return b"".join(b'{"number":%d,"text":"note %d"}\n' % (number, number) for number in range(start, end))


def read(part):
    with hub.open_rows(part.uri) as stream:
        return stream.read()


def parquet(table):
    import pyarrow
    import pyarrow.parquet

    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(table), content, row_group_size=100)
    return content.getvalue()


def test_a_split_has_a_part_for_each_file_and_is_known_by_its_commit(notes, platform):
    address = "hf://datasets/clinic/notes/notes/train"
    files = data.resolve(platform, address)
    assert [file.name for file in files] == [f"{address}#00001-of-00002", f"{address}#00002-of-00002"]
    pinned = f"hf://datasets/clinic/notes@{notes}/notes/train"
    assert [file.uri for file in files] == [f"{pinned}#00001-of-00002", f"{pinned}#00002-of-00002"]
    assert {file.digest for file in files} == {f"hub:{notes}:notes:train"}
    assert sum(file.bytes for file in files) == pytest.approx(len(rows(0, 1010)), abs=1)
    with files[0].open() as first, files[1].open() as second:
        assert first.read() == rows(0, 1000)
        assert second.readline() == rows(1000, 1001)


@pytest.mark.parametrize(
    ("address", "content"),
    [
        ("hf://datasets/clinic/notes/notes/test", rows(5000, 5001)),
        ("hf://datasets/clinic/notes@main/letters/train", '{"letter":"ä"}\n'.encode()),
    ],
)
@pytest.mark.usefixtures("notes")
def test_a_config_and_a_split_are_chosen(address, content):
    assert b"".join(map(read, hub.find(address))) == content


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data/train.jsonl", rows(0, 700)),
        ("data/train.jsonl.gz", gzip.compress(rows(0, 700))),
        ("data/train.csv", b"number,text\n" + b"".join(b"%d,note %d\n" % (n, n) for n in range(700))),
        ("data/train.parquet", parquet({"number": range(700), "text": [f"note {number}" for number in range(700)]})),
    ],
)
def test_any_format_becomes_json_lines(server, name, content):
    dataset = f"clinic/{name.removeprefix('data/train.')}"
    server.commit(dataset, {name: content})
    [part] = hub.find(f"hf://datasets/{dataset}/train")
    assert read(part) == rows(0, 700)
    assert part.bytes == len(content)


def test_values_that_json_has_no_form_for(server):
    moment = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)
    row = {
        "day": date(2024, 2, 29),
        "at": moment,
        "text": "ä".encode(),
        "raw": b"\xff\x00",
        "none": None,
        "in": {"x": [1]},
    }
    server.commit("clinic/values", {"train.parquet": parquet({name: [value] for name, value in row.items()})})
    [part] = hub.find("hf://datasets/clinic/values/train")
    assert json.loads(read(part)) == {
        "day": "2024-02-29",
        "at": "2024-02-29T12:30:00+00:00",
        "text": "ä",
        "raw": base64.b64encode(b"\xff\x00").decode(),
        "none": None,
        "in": {"x": [1]},
    }


def test_a_dataset_that_moves_on_is_read_as_it_was_found(server):
    server.commit("clinic/moving", {"train.jsonl": rows(0, 3)})
    [before] = hub.find("hf://datasets/clinic/moving/train")
    server.commit("clinic/moving", {"train.jsonl": rows(3, 6)})
    server.commit("clinic/moving", {"train.jsonl": rows(6, 9)}, revision="draft")
    [after] = hub.find("hf://datasets/clinic/moving/train")
    [draft] = hub.find("hf://datasets/clinic/moving@draft/train")
    assert [read(part) for part in (before, after, draft)] == [rows(0, 3), rows(3, 6), rows(6, 9)]
    assert len({part.digest for part in (before, after, draft)}) == 3


def test_a_local_copy_is_made_once(server, platform, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDITRON_SCRATCH", str(tmp_path / "scratch"))
    server.commit("clinic/copied", {"train.jsonl": rows(0, 5)})
    [file] = data.resolve(platform, "hf://datasets/clinic/copied/train")
    assert file.local().read_bytes() == rows(0, 5)
    asked = len(server.requests)
    assert file.local().read_bytes() == rows(0, 5)
    assert len(server.requests) == asked


def test_reading_goes_on_after_trouble(server):
    server.commit("clinic/trouble", {"train.jsonl": rows(0, 300)})
    [part] = hub.find("hf://datasets/clinic/trouble/train")
    server.broken = 1
    assert read(part) == rows(0, 300)
    assert server.broken == 0


def test_a_damaged_file_is_named(server):
    server.commit("clinic/damaged", {"train.parquet": parquet({"x": [1]})[:-6]})
    with pytest.raises(InputError, match=r"^hf://datasets/clinic/damaged.*train.*: can't be read: "):
        list(map(read, hub.find("hf://datasets/clinic/damaged/train")))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("clinic/notes/train", r"Config name is missing.*notes.*letters"),
        ("clinic/notes/notes/dev", r"Bad split: dev. Available splits: \['train', 'test'\]"),
        ("clinic/notes/diaries/train", r"BuilderConfig 'diaries' not found. Available: \['notes', 'letters'\]"),
        ("clinic/nothing/train", r"no such dataset, or not for you: if it is private or gated, set HF_TOKEN"),
        ("clinic/notes@v2/notes/train", r"the dataset has no such revision"),
    ],
)
@pytest.mark.usefixtures("notes")
def test_what_is_not_there_is_explained(address, message):
    with pytest.raises(InputError, match=rf"^hf://datasets/{address}: .*{message}") as caught:
        hub.find(f"hf://datasets/{address}")
    assert HUB_TOKEN not in "".join(traceback.format_exception(caught.value))


def test_a_dataset_that_is_a_program_is_not_run(server):
    server.commit("clinic/program", {"program.py": b"raise SystemExit", "data.jsonl": rows(0, 1)})
    with pytest.raises(InputError, match=r"can't be read: RuntimeError: Dataset scripts are no longer supported"):
        hub.find("hf://datasets/clinic/program/train")


@pytest.mark.parametrize(
    ("address", "dataset"),
    [
        ("hf://datasets/a/b/train", hub.Dataset("a/b", None, None, "train")),
        ("hf://datasets/a/b@v1.0/c/train.clean", hub.Dataset("a/b", "v1.0", "c", "train.clean")),
        ("hf://datasets/a/b@new%2Fnotes/train", hub.Dataset("a/b", "new/notes", None, "train")),
        ("hf://datasets/a/b@refs/pr/3/c/train", hub.Dataset("a/b", "refs/pr/3", "c", "train")),
        ("hf://datasets/a/b@refs/convert/parquet/c/train", hub.Dataset("a/b", "refs/convert/parquet", "c", "train")),
    ],
)
def test_what_an_address_names(address, dataset):
    assert hub.parse(address) == dataset


@pytest.mark.parametrize(
    "address",
    [
        "hf://datasets/clinic",
        "hf://clinic/notes/train",
        "hf://datasets/a/b/c/d/e",
        "hf://datasets/a/b/train[:9]",
        "hf://",
    ],
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(InputError, match=r"expected hf://datasets/OWNER/NAME\[@REVISION\]\[/CONFIG\]/SPLIT"):
        hub.find(address)


def test_a_private_dataset_needs_its_token(server, monkeypatch):
    server.commit("clinic/private", {"train.jsonl": rows(0, 2)}, token=HUB_TOKEN)
    [part] = hub.find("hf://datasets/clinic/private/train")
    assert read(part) == rows(0, 2)
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    with pytest.raises(InputError, match="set HF_TOKEN") as caught:
        hub.find("hf://datasets/clinic/private/train")
    assert "hf_another" not in "".join(traceback.format_exception(caught.value))


def test_a_hub_that_is_not_there(server, notes, monkeypatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(InputError, match=r"^hf://datasets/clinic/notes/notes/train: .*HF_ENDPOINT") as caught:
        hub.find("hf://datasets/clinic/notes/notes/train")
    assert HUB_TOKEN not in "".join(traceback.format_exception(caught.value))


def test_nothing_of_it_is_imported_where_no_such_address_is_used(tmp_path):
    (tmp_path / "x.txt").touch()
    code = (
        "import sys; from types import SimpleNamespace; from components.platform import data\n"
        f"place = SimpleNamespace(data={str(tmp_path)!r}, follow_links=False)\n"
        "file, = data.resolve(place, '*.txt'); file.open().close(); file.local()\n"
        "print({'datasets', 'huggingface_hub', 'pyarrow', 'boto3', 'botocore'} & set(sys.modules))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
