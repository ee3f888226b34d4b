"""The registered version that a run goes on from."""

import json
import re

import pytest

from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.errors import InputError
from components.platform.manifest import Manifest
from components.platform.predecessor import Predecessor, all_corpora, note_of
from components.platform.tracking.models import ModelRegistry
from components.platform.tracking.tracker import Tracker


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    tracking = TrackingSettings(uri=f"sqlite:///{home}/mlflow.db", artifacts=str(home / "mlartifacts"))
    return PlatformSettings(data=str(home), workspace=str(home / "runs"), tracking=tracking)


def artifact(folder, content, **facts):
    folder.mkdir()
    (folder / "content").write_text(content)
    manifest = Manifest.of_folder(folder.name, folder, **facts)
    manifest.save(folder / "manifest.json")
    return manifest


@pytest.fixture
def tiny(tmp_path):
    """Name of the model: another one in each test, for they share MLflow's database."""
    return tmp_path.name


@pytest.fixture
def champion(platform, tmp_path, tiny):
    """The artifacts of version 1, which is the champion."""
    made = {role: artifact(tmp_path / role, role) for role in ("corpus", "pretrained")}
    tags = {f"{role}.uri": manifest.uri for role, manifest in made.items()}
    tags |= {f"{role}.digest": manifest.digest for role, manifest in made.items()}
    run_id = Tracker(platform).run_of("register", "run-1")
    registry = ModelRegistry(platform.tracking.uri)
    version = registry.register(tiny, f"/models/{tiny}", run_id, tags)
    registry.set_alias(version, "champion")
    return made


@pytest.mark.parametrize("wanted", ["champion", "1"])
def test_found_by_alias_and_by_number(platform, champion, tiny, wanted):
    found = Predecessor.find(platform, tiny, wanted)
    places = {role: manifest.uri for role, manifest in champion.items()}
    assert found == Predecessor(tiny, 1, **places)
    assert Predecessor.from_json(found.to_json()) == found
    assert all_corpora(found) == [champion["corpus"]]


def test_without_one(platform, champion, tiny):
    with pytest.raises(InputError, match=f"model {re.escape(tiny)} has no version with the alias best"):
        Predecessor.find(platform, tiny, "best")
    with pytest.raises(InputError, match=f"no version 7 of model {re.escape(tiny)}"):
        Predecessor.find(platform, tiny, "7")
    with pytest.raises(InputError, match="train one in a whole run first"):
        Predecessor.find(platform, "another", "champion")
    assert Predecessor.from_json("") is None
    assert all_corpora(None) == []


def test_what_it_was_made_from_is_gone(platform, champion, tiny):
    (tmp := champion["pretrained"].local() / "manifest.json").unlink()
    with pytest.raises(InputError, match=rf"version 1: its pretrained is not to be had: {re.escape(str(tmp))}"):
        Predecessor.find(platform, tiny, "champion")


def test_what_it_was_made_from_was_changed(platform, champion, tiny, tmp_path):
    record = json.loads((tmp_path / "corpus/manifest.json").read_text())
    record["files"][0]["sha256"] = "0" * 64
    del record["checksum"]  # a whole manifest, of another corpus
    (tmp_path / "corpus/manifest.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="is not the corpus that it was made from any more"):
        Predecessor.find(platform, tiny, "champion")


def test_a_place_with_an_apostrophe():
    """KFP's local runner evaluates conditions on the text as Python."""
    version = Predecessor("tiny", 1, corpus="/home/o'neill/corpus", pretrained="s3://bücket/\\'")
    assert Predecessor.from_json(version.to_json()) == version
    assert eval(f"'{version.to_json()}' != ''")


def test_corpora_of_a_chain(champion, tmp_path):
    second = artifact(tmp_path / "second", "news", metadata=note_of([champion["corpus"]]))
    found = Predecessor("tiny", 2, corpus=second.uri, pretrained="unused")
    assert all_corpora(found) == [second, champion["corpus"]]
