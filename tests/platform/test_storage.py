"""The same verbs on files and on an S3 server on loopback."""

import pytest
from moto.server import ThreadedMotoServer

from components.platform import storage
from components.platform.data import resolve
from components.platform.errors import InputError
from components.platform.manifest import Manifest
from components.platform.settings import Settings
from components.platform.stage import produce


class Numbers(Settings):
    count: int = 3


@pytest.fixture(scope="module")
def server():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3_platform(server, platform, tmp_path, monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "MEDITRON_SCRATCH": str(tmp_path / "scratch"),
    }.items():
        monkeypatch.setenv(name, value)
    storage._client.cache_clear()
    bucket = f"meditron-{tmp_path.name.replace('_', '-').lower()}"
    storage._client().create_bucket(Bucket=bucket)
    yield platform.model_copy(update={"data": f"s3://{bucket}/data", "workspace": f"s3://{bucket}/runs"})
    storage._client.cache_clear()


def test_sources_are_found_by_glob_and_fetched(s3_platform, tmp_path):
    (tmp_path / "up").mkdir()
    for name in ("a.jsonl", "b.jsonl", "c.txt"):
        (tmp_path / "up" / name).write_text(name)
    storage.upload(tmp_path / "up", ["a.jsonl", "b.jsonl", "c.txt"], s3_platform.data + "/notes")
    files = resolve(s3_platform, "notes/*.jsonl")
    assert [(file.name, file.path.read_text(), file.bytes) for file in files] == [
        ("notes/a.jsonl", "a.jsonl", 7),
        ("notes/b.jsonl", "b.jsonl", 7),
    ]
    with pytest.raises(InputError, match=r"s3://.*/data/none/\*: no such file"):
        resolve(s3_platform, "none/*")


def test_a_stage_result_is_published_with_its_manifest_last_and_fetched_verified(s3_platform, monkeypatch):
    def work(folder):
        (folder / "sub").mkdir()
        (folder / "sub" / "numbers.txt").write_text("1 2 3")
        return {"count": 3}

    uploads = []
    upload = storage.upload
    monkeypatch.setattr(storage, "upload", lambda f, names, root: (uploads.append(names), upload(f, names, root)))
    manifest = produce("numbers", Numbers(), {}, s3_platform, work)
    assert uploads == [["sub/numbers.txt"], ["manifest.json"]]
    assert manifest.uri.startswith("s3://")
    assert (Manifest.load(manifest.uri).local() / "sub" / "numbers.txt").read_text() == "1 2 3"
    again = produce("numbers", Numbers(), {}, s3_platform, lambda folder: pytest.fail("made again"))
    assert again == manifest


def test_a_changed_object_is_detected(s3_platform, tmp_path):
    def work(folder):
        (folder / "x").write_text("good")
        return {}

    manifest = produce("numbers", Numbers(), {}, s3_platform, work)
    (tmp_path / "x").write_text("evil")
    storage.upload(tmp_path, ["x"], manifest.uri)
    with pytest.raises(InputError, match="SHA-256 differs"):
        manifest.local()


def test_write_atomically_leaves_no_temporary_file(tmp_path):
    storage.write_atomically(tmp_path / "deep" / "file.txt", "text")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file.txt"]
