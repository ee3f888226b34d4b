"""Datasets of the hub whose descriptions name what is not theirs."""

import io
import tarfile
from contextlib import suppress

import pytest

from components.platform.errors import InputError
from components.platform.source import hub
from tests.platform.conftest import server  # noqa: F401 - fixture

SECRET = "what the file says"
README = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: {}\n---\n"


def find_and_read(address):
    return b"".join(stream.read() for part in hub.find(address) for stream in [hub.open_rows(part.uri)])


@pytest.mark.parametrize("place", ["{folder}/secret.txt", "file://{folder}/secret.txt", "{server}/secret.txt"])
def test_a_description_names_files_of_its_own(server, tmp_path, place):  # noqa: F811
    (tmp_path / "secret.txt").write_text(SECRET)
    place = place.format(folder=tmp_path, server=server.url)
    server.commit("evil/places", {"README.md": README.format(place).encode(), "own.txt": b"own"})
    with pytest.raises(InputError, match="evil/places") as caught:
        find_and_read("hf://datasets/evil/places/train")
    assert SECRET not in str(caught.value)


def test_files_of_another_dataset(server):  # noqa: F811
    server.commit("clinic/private", {"notes.txt": SECRET.encode()})
    place = "hf://datasets/clinic/private/notes.txt"
    server.commit("evil/neighbour", {"README.md": README.format(place).encode(), "own.txt": b"own"})
    with pytest.raises(InputError, match="evil/neighbour/train: can't be read: .* don't belong to evil/neighbour"):
        find_and_read("hf://datasets/evil/neighbour/train")


def test_formats_that_are_no_text(server):  # noqa: F811
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        entry = tarfile.TarInfo("x.pth")
        entry.size = 6
        file.addfile(entry, io.BytesIO(b"\x80\x04K\x05.\n"))
    server.commit("evil/formats", {"train.tar": buffer.getvalue()})
    with pytest.raises(InputError, match="files of format webdataset; expected one of arrow, csv, json, parquet, text"):
        find_and_read("hf://datasets/evil/formats/train")


@pytest.mark.parametrize("name", ["script.py", "evil/script.py"])
def test_code_is_not_run(server, tmp_path, name):  # noqa: F811
    code = f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\n".encode()
    server.commit("evil/script", {name: code, "train.jsonl": b'{"text": "x"}\n'})
    with suppress(InputError):
        find_and_read("hf://datasets/evil/script/train")
    assert not (tmp_path / "ran").exists()
