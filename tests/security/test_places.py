"""Files that are not where they seem to be: links out of the data root, and folders that others can write to."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from components.platform import data
from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.errors import InputError
from components.platform.manifest import scratch


@pytest.fixture
def platform(tmp_path):
    (tmp_path / "data" / "notes").mkdir(parents=True)
    (tmp_path / "data" / "notes" / "own.jsonl").write_text("{}\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.jsonl").write_text("secret\n")
    tracking = TrackingSettings(uri=f"sqlite:///{tmp_path}/mlflow.db")
    return PlatformSettings(data=str(tmp_path / "data"), workspace=str(tmp_path / "runs"), tracking=tracking)


LINKS = {
    "file": ("notes/link.jsonl", "../../elsewhere/secret.jsonl"),
    "folder": ("more", "../elsewhere"),
    "folder of the root": ("more", "/"),
    "link to a link": ("notes/two.jsonl", "one.jsonl"),
}


@pytest.mark.parametrize("link", LINKS)
def test_links_out_of_the_data_root_are_refused(platform, link):
    name, target = LINKS[link]
    root = Path(platform.data)
    (root / "notes" / "one.jsonl").symlink_to("../../elsewhere/secret.jsonl")
    (root / name).symlink_to(target)
    pattern = "more/etc/passwd" if target == "/" else "*/*.jsonl"
    for look in (data.check, data.resolve):
        with pytest.raises(InputError, match="a link out of the data root, to .*set platform.follow_links"):
            look(platform, pattern)


def test_links_within_it_are_taken(platform):
    root = Path(platform.data)
    (root / "same.jsonl").symlink_to("notes/own.jsonl")
    (root / "again").symlink_to("notes")
    assert [file.name for file in data.resolve(platform, "same.jsonl")] == ["same.jsonl"]
    assert [file.name for file in data.resolve(platform, "again/*")] == ["again/own.jsonl"]


def test_a_root_that_is_a_link_is_the_user_s_own_choice(platform, tmp_path):
    (tmp_path / "root").symlink_to("data")
    linked = platform.model_copy(update={"data": str(tmp_path / "root")})
    assert [file.name for file in data.resolve(linked, "notes/*")] == ["notes/own.jsonl"]


def test_links_are_followed_where_the_recipe_says_so(platform):
    (Path(platform.data) / "more").symlink_to("../elsewhere")
    trusting = platform.model_copy(update={"follow_links": True})
    assert [file.name for file in data.resolve(trusting, "more/*")] == ["more/secret.jsonl"]


@pytest.fixture
def shared_folder(tmp_path, monkeypatch):
    """As /tmp is: one folder for all users of a machine."""
    monkeypatch.delenv("MEDITRON_SCRATCH", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"meditron-{os.getuid()}"


def test_copies_lie_in_a_folder_of_the_user_s_own(shared_folder):
    assert scratch() == shared_folder
    assert stat.S_IMODE(shared_folder.stat().st_mode) == 0o700
    assert scratch() == shared_folder


def link(folder):
    (folder.parent / "others").mkdir()
    folder.symlink_to("others")


def open_to_all(folder):
    folder.mkdir()
    folder.chmod(0o777)


@pytest.mark.parametrize("prepare", [link, open_to_all])
def test_a_folder_that_others_prepared_is_refused(shared_folder, prepare):
    prepare(shared_folder)
    with pytest.raises(InputError, match="not a folder that only you can write to; remove it, or set MEDITRON_SCRATCH"):
        scratch()


def test_another_user_s_folder_is_refused(shared_folder):
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    shared_folder.mkdir(mode=0o700)
    os.chown(shared_folder, 12345, 12345)
    with pytest.raises(InputError, match="not a folder that only you can write to"):
        scratch()
