"""Manifests: what is listed is what is there."""

import json
from dataclasses import replace

import pytest

from components.platform import storage
from components.platform.errors import InputError
from components.platform.manifest import MANIFEST_NAME, Manifest


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "artifact"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "config.json").write_text("{}")
    (folder / "weights.bin").write_bytes(b"1234")
    (folder / ".lock").write_text("not part of it")
    return folder


def test_lists_every_file_with_size_and_hash(folder):
    manifest = Manifest.of_folder("model", folder)
    assert [(entry.path, entry.bytes) for entry in manifest.files] == [
        ("model/config.json", 2),
        ("weights.bin", 4),
    ]
    assert manifest.files[1].sha256 == "03ac674216f3e15c761ee1a5e255f067953623c8b388b4459e13f978d7c846f4"
    assert manifest.bytes == 6


def test_round_trip_and_verification(folder):
    manifest = Manifest.of_folder("model", folder, metadata={"tokens": 3})
    manifest.save(folder / MANIFEST_NAME)
    assert Manifest.load(folder) == manifest
    assert manifest.local() == folder


def test_digest_depends_on_content_not_on_place_or_records(folder, tmp_path):
    before = Manifest.of_folder("model", folder).digest
    (folder / "metrics.jsonl").write_text('{"tokens_per_second": 1}\n')
    moved = folder.rename(tmp_path / "elsewhere")
    assert Manifest.of_folder("model", moved).digest == before
    (moved / "weights.bin").write_bytes(b"1235")
    assert Manifest.of_folder("model", moved).digest != before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: f.unlink(), "weights.bin: missing"),
        (lambda f: f.write_bytes(b"12"), "weights.bin: 2 bytes, the manifest says 4"),
        (lambda f: f.write_bytes(b"1235"), "weights.bin: SHA-256 differs"),
    ],
)
def test_damage_is_detected_and_named(folder, damage, message):
    manifest = Manifest.of_folder("model", folder)
    damage(folder / "weights.bin")
    with pytest.raises(InputError, match=message):
        manifest.local()


def test_missing_or_foreign_manifest(tmp_path):
    with pytest.raises(InputError, match="no such manifest"):
        Manifest.load(tmp_path)
    (tmp_path / MANIFEST_NAME).write_text(json.dumps({"unrelated": 1}))
    with pytest.raises(InputError, match="not a manifest"):
        Manifest.load(tmp_path)


def test_paths_that_lead_elsewhere_are_refused(folder):
    manifest = {"kind": "x", "uri": str(folder)}
    for path in ("../../etc/passwd", "/etc/passwd", "model/../../x"):
        manifest["files"] = [{"path": path, "bytes": 1, "sha256": "0" * 64}]
        (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
        with pytest.raises(InputError, match="leads out of the artifact's folder"):
            Manifest.load(folder)


def test_a_bad_copy_of_a_remote_artifact_is_fetched_anew(folder, bucket):
    manifest = Manifest.of_folder("model", folder)
    storage.upload(folder, {entry.path: entry.sha256 for entry in manifest.files}, f"{bucket}/model")
    remote = replace(manifest, uri=f"{bucket}/model")
    copy = remote.local()
    (copy / "weights.bin").write_bytes(b"9999")
    with pytest.raises(InputError, match=r"weights.bin: SHA-256 differs"):
        remote.local()
    assert (remote.local() / "weights.bin").read_bytes() == b"1234"
