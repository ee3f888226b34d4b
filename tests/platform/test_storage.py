"""The same verbs on files and on an S3 server on loopback."""

import os
from pathlib import Path

import pytest

from components.platform import storage
from components.platform.errors import InputError
from components.platform.manifest import Manifest
from components.platform.settings import Settings
from components.platform.stage import produce
from components.platform.storage import s3 as access
from tests.platform.conftest import put

NAMES = ["a.jsonl", "b.jsonl", "c.txt", "deep/a.jsonl", "deep/er/a.jsonl", "deep/er/x[1].jsonl"]


class Numbers(Settings):
    count: int = 3


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jsonl", ["a.jsonl", "b.jsonl"]),
        ("a.jsonl", ["a.jsonl"]),
        ("?.txt", ["c.txt"]),
        ("[ab].jsonl", ["a.jsonl", "b.jsonl"]),
        ("*/a.jsonl", ["deep/a.jsonl"]),
        ("**/a.jsonl", ["a.jsonl", "deep/a.jsonl", "deep/er/a.jsonl"]),
        ("deep/**/*.jsonl", ["deep/a.jsonl", "deep/er/a.jsonl", "deep/er/x[1].jsonl"]),
        ("**/x[[]1].jsonl", ["deep/er/x[1].jsonl"]),
        ("**/*", NAMES),
        ("*", ["a.jsonl", "b.jsonl", "c.txt"]),
    ],
)
def test_a_glob_means_the_same_in_a_folder_and_on_s3(platform, s3_platform, s3, pattern, expected):
    for name in NAMES:
        path = Path(platform.data, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        put(s3, f"{s3_platform.data}/{name}", name)
    put(s3, f"{s3_platform.data}/deep/", "")  # what consoles make for a folder
    put(s3, f"{s3_platform.data}base/a.jsonl", "of another root")
    for root in (platform.data, s3_platform.data):
        found = storage.find(root, pattern)
        assert [file.name for file in found] == expected
        assert [file.bytes for file in found] == [len(file.name) for file in found]
    assert [file.name for file in storage.find("anywhere", f"{s3_platform.data}/{pattern}")] == [
        f"{s3_platform.data}/{name}" for name in expected
    ]


@pytest.mark.parametrize("pattern", ["/etc/passwd", "../x", "a/../../x", "./x", "a//x", "", "a**", "deep/**", "**"])
def test_patterns_that_lead_elsewhere_are_refused(platform, pattern):
    refusal = "expected a name or glob below the data root|write \\*\\*/\\*"
    with pytest.raises(InputError, match=refusal):
        storage.find(platform.data, pattern)
    with pytest.raises(InputError, match=f"s3://bucket/.*{refusal}"):
        storage.find(platform.data, f"s3://bucket/{pattern}")


def test_a_stage_result_is_published_with_its_manifest_last_and_fetched_verified(s3_platform, monkeypatch):
    def work(folder):
        (folder / "sub").mkdir()
        (folder / "sub" / "numbers.txt").write_text("1 2 3")
        return {"count": 3}

    uploads = []
    upload = storage.upload
    monkeypatch.setattr(storage, "upload", lambda f, names, root: (uploads.append(list(names)), upload(f, names, root)))
    manifest = produce("numbers", Numbers(), {}, s3_platform, work)
    assert uploads == [["sub/numbers.txt"], ["manifest.json"]]
    assert manifest.uri.startswith("s3://")
    assert (Manifest.load(manifest.uri).local() / "sub" / "numbers.txt").read_text() == "1 2 3"
    again = produce("numbers", Numbers(), {}, s3_platform, lambda folder: pytest.fail("made again"))
    assert again == manifest


def test_a_changed_object_is_detected(s3_platform, s3):
    def work(folder):
        (folder / "x").write_text("good")
        return {}

    manifest = produce("numbers", Numbers(), {}, s3_platform, work)
    put(s3, f"{manifest.uri}/x", "evil")
    with pytest.raises(InputError, match="SHA-256 differs"):
        manifest.local()


@pytest.mark.parametrize("key", ["data/../../outside.txt", "data/.."])
def test_an_object_whose_copy_would_lie_elsewhere_is_refused(bucket, s3, key):
    put(s3, f"{bucket}/{key}", "x")
    with pytest.raises(InputError, match=rf"{key}: expected a name without ..; rename it"):
        storage.find(f"{bucket}/data", "**/*")


def test_a_manifest_that_is_not_on_s3_is_named(s3_platform):
    with pytest.raises(InputError, match=r"s3://.*/runs/x/manifest.json: no such manifest"):
        Manifest.load(f"{s3_platform.workspace}/x")


def test_upload_sends_only_what_is_not_there(bucket, proxy, tmp_path):
    for name, content in {"a": b"first", "sub/b": b"second", "empty": b""}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)

    def upload():
        proxy.heal()
        storage.upload(tmp_path, {name: storage.sha256(tmp_path / name) for name in ("a", "sub/b", "empty")}, bucket)
        return sorted(path.rpartition("/")[2].partition("?")[0] for _, path, _ in proxy.sent("PUT"))

    assert upload() == ["a", "b", "empty"]
    assert upload() == []
    (tmp_path / "a").write_bytes(b"FIRST")  # of the same length
    assert upload() == ["a"]
    storage.download(bucket, ["a", "sub/b", "empty"], tmp_path / "back")
    assert [(tmp_path / "back" / name).read_bytes() for name in ("a", "sub/b", "empty")] == [b"FIRST", b"second", b""]


def test_the_client_is_not_shared_with_a_forked_process(bucket):
    access.client()
    child = os.fork()
    if not child:
        os._exit(access._made_client.cache_info().currsize)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_write_atomically_leaves_no_temporary_file(tmp_path):
    storage.write_atomically(tmp_path / "deep" / "file.txt", "text")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file.txt"]
