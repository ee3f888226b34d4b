"""Source files: found by a pattern, known by their content, read wherever they lie."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from components.platform import data
from components.platform.data import SourceFile, local_folder, resolve
from components.platform.errors import InputError
from components.platform.storage import files
from tests.platform.conftest import put


def test_sources_on_s3_are_fingerprinted_and_read_without_a_copy(s3_platform, s3, tmp_path):
    for name in ("a.jsonl", "b.jsonl", "c.txt"):
        put(s3, f"{s3_platform.data}/notes/{name}", name)
    files = resolve(s3_platform, "notes/*.jsonl")
    assert [(file.name, file.open().read(), file.bytes) for file in files] == [
        ("notes/a.jsonl", b"a.jsonl", 7),
        ("notes/b.jsonl", b"b.jsonl", 7),
    ]
    assert files[0].uri == f"{s3_platform.data}/notes/a.jsonl"
    assert files[0].digest == f"etag:{hashlib.md5(b'a.jsonl').hexdigest()}:7"
    assert not (tmp_path / "scratch").exists()
    assert resolve(s3_platform, f"{s3_platform.data}/notes/a.*")[0].name == files[0].uri
    with pytest.raises(InputError, match=r"s3://.*/data/none/\*: no such file"):
        resolve(s3_platform, "none/*")
    with pytest.raises(InputError, match=r"s3://.*/else/\*: no such file"):
        resolve(s3_platform, "s3://" + s3_platform.data.split("/")[2] + "/else/*")


def test_a_source_on_this_machine(platform):
    path = Path(platform.data, "a.txt")
    path.write_bytes(b"content")
    [file] = resolve(platform, "a.txt")
    assert file == SourceFile("a.txt", str(path), 7, f"sha256:{hashlib.sha256(b'content').hexdigest()}")
    assert file.open().read() == b"content"
    assert file.local() == path
    path.unlink()
    with pytest.raises(InputError, match=r"a.txt: No such file or directory; it was there"):
        file.open()


def test_a_local_copy_is_made_once_and_anew_when_the_object_is_another(s3_platform, s3, proxy):
    place = f"{s3_platform.data}/model/config.json"
    put(s3, place, b"first")
    put(s3, f"{s3_platform.data}/model/model.safetensors", b"weights")
    folder = local_folder(resolve(s3_platform, "model/*"))
    assert (folder / "config.json").read_bytes() == b"first"
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    proxy.heal()
    [file] = resolve(s3_platform, "model/config.json")
    assert file.local().read_bytes() == b"first"
    assert not [path for _, path, _ in proxy.requests if "config.json" in path.partition("?")[0]]
    put(s3, place, b"other")
    assert resolve(s3_platform, "model/config.json")[0].local().read_bytes() == b"other"


def test_files_of_several_folders_are_no_folder(platform):
    for name in ("a/x", "b/x"):
        path = Path(platform.data, name)
        path.parent.mkdir()
        path.touch()
    with pytest.raises(InputError, match="expected files of one folder"):
        local_folder(resolve(platform, "*/x"))


def test_a_copy_that_was_cut_off_is_made_anew(s3_platform, s3, monkeypatch):
    put(s3, f"{s3_platform.data}/x.txt", b"content")
    [file] = resolve(s3_platform, "x.txt")

    def cut_off(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copyfileobj", cut_off)
        with pytest.raises(KeyboardInterrupt):
            file.local()
    assert file.local().read_bytes() == b"content"
    assert sorted(path.name for path in file.local().parent.iterdir()) == [".x.txt.digest", "x.txt"]


def test_a_source_goes_through_json(s3_platform, s3):
    put(s3, f"{s3_platform.data}/x.txt", b"content")
    [file] = resolve(s3_platform, "x.txt")
    assert SourceFile(**json.loads(json.dumps(asdict(file)))).open().read() == b"content"


def test_changed_content_changes_the_digest(platform, s3_platform, s3):
    digests = []
    for content in (b"one", b"two"):
        Path(platform.data, "x").write_bytes(content)
        put(s3, f"{s3_platform.data}/x", content)
        digests += [resolve(place, "x")[0].digest for place in (platform, s3_platform)]
    assert len(set(digests)) == 4


def test_checking_reads_nothing(platform, s3_platform, s3, proxy, monkeypatch):
    Path(platform.data, "x.txt").write_text("content")
    put(s3, f"{s3_platform.data}/x.txt", b"content")
    proxy.heal()
    monkeypatch.setattr(files, "sha256", lambda path: pytest.fail("hashed"))
    for place in (platform, s3_platform):
        data.check(place, "*.txt")
        with pytest.raises(InputError, match="no such file"):
            data.check(place, "*.jsonl")
    assert {path.partition("?")[0] for _, path, _ in proxy.requests} == {"/" + s3_platform.data.split("/")[2]}
