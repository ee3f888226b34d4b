"""Manifests that somebody else wrote: what they name lies in their folder, and nothing is fetched to anywhere else."""

import json
import re

import pytest

from components.platform import storage
from components.platform.errors import InputError
from components.platform.manifest import MANIFEST_NAME, Manifest, save_list

SHA256 = "0" * 64
GOOD = {"kind": "sft", "files": [{"path": "model/config.json", "bytes": 2, "sha256": SHA256}]}
NAMES = {
    "parent": ("../outside", "../outside: leads out of the artifact's folder"),
    "parent inside": ("model/../../outside", "model/../../outside: leads out"),
    "absolute": ("/etc/outside", "/etc/outside: leads out"),
    "itself": ("./x", "'./x': expected a plain path"),
    "empty part": ("model//x", "'model//x': expected a plain path"),
    "null byte": ("x\0y", "expected a plain path"),
    "none": ("", "path '': expected the name of a file"),
    "folder": (".", "path '.': expected the name"),
    "number": (5, "path 5: expected the name"),
    "null": (None, "path None: expected the name"),
}
CHANGES = {
    "kind absolute": ({"kind": "/etc"}, "kind is '/etc'"),
    "kind parent": ({"kind": "../../etc"}, "kind is '../../etc'"),
    "kind dots": ({"kind": ".."}, "kind is '..'"),
    "kind number": ({"kind": 5}, "kind is 5"),
    "uri": ({"uri": 5}, "uri is 5"),
    "metadata": ({"metadata": []}, r"metadata is \[\]"),
    "files": ({"files": {"path": "x"}}, "not a manifest"),
    "files null": ({"files": None}, "not a manifest"),
    "unknown key": ({"run": "x"}, "not a manifest"),
    "twice": ({"files": GOOD["files"] * 2}, "model/config.json: listed 2 times"),
    "bytes": ({"files": [GOOD["files"][0] | {"bytes": -1}]}, "model/config.json: bytes is -1"),
    "bytes bool": ({"files": [GOOD["files"][0] | {"bytes": True}]}, "model/config.json: bytes is True"),
    "bytes float": ({"files": [GOOD["files"][0] | {"bytes": 1e30}]}, "model/config.json: bytes is 1e"),
    "sha256": ({"files": [GOOD["files"][0] | {"sha256": "../../x"}]}, "model/config.json: sha256 is"),
}


def refused(location, message):
    with pytest.raises(InputError, match=f"{re.escape(str(location))}.*{message}"):
        Manifest.load(location)


def write(folder, **changes):
    folder.mkdir(exist_ok=True)
    path = folder / MANIFEST_NAME
    path.write_text(json.dumps(GOOD | {"uri": str(folder)} | changes))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_paths_that_lead_out_of_the_folder(tmp_path, name):
    path, message = NAMES[name]
    refused(write(tmp_path / "x", files=[{"path": path, "bytes": 1, "sha256": SHA256}]), message)


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_no_manifest(tmp_path, change):
    changes, message = CHANGES[change]
    refused(write(tmp_path / "x", **changes), message)


@pytest.mark.parametrize("content", ["[]", "5", "null", "", "\0", '{"a":' * 100_000, "[" * 100_000])
def test_what_is_no_object(tmp_path, content):
    path = tmp_path / MANIFEST_NAME
    path.write_text(content)
    refused(path, "not a manifest")


def test_a_good_one(tmp_path):
    assert Manifest.load(write(tmp_path / "x")).kind == "sft"


def test_only_files_that_are_listed_are_fetched(tmp_path):
    """A name may come from elsewhere, such as from another manifest's metadata."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "x").mkdir()
    manifest = Manifest.load(write(tmp_path / "x"))
    for name in ("../secret", "/etc/passwd", "model/weights"):
        with pytest.raises(InputError, match=f"lists no {name}"):
            manifest.fetch(name)


@pytest.mark.parametrize("changes", [{"kind": "../../outside"}, {"files": [GOOD["files"][0] | {"path": "../../../x"}]}])
def test_nothing_is_downloaded_by_a_bad_one(bucket, tmp_path, changes):
    """The same bytes lie where the manifest says, so only its own check stands in between."""
    path = write(tmp_path / "artifact", uri=f"{bucket}/sft/key", **changes)
    storage.upload(path.parent, {MANIFEST_NAME: storage.sha256(path)}, f"{bucket}/sft/key")
    before = sorted(tmp_path.rglob("*"))
    save_list([Manifest("sft", f"{bucket}/sft/key", ())], tmp_path / "list.json")
    with pytest.raises(InputError, match="s3://.*manifest.json: not a manifest"):
        Manifest.load_all(tmp_path / "list.json")
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "list.json"])
