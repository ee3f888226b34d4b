"""The model registry on SQLite: versions by reference, their tags, and the aliases that point at them."""

import pytest

from components.platform.errors import InputError
from components.platform.tracking.models import ModelRegistry
from components.platform.tracking.runs import stage_run


@pytest.fixture
def run_id(platform):
    with stage_run(platform, "register", {}) as run:
        return run.run_id


def test_one_version_per_source(platform, run_id):
    registry = ModelRegistry(platform.tracking.uri)
    first = registry.register("tiny", "/models/a", run_id, {"sft.digest": "1"})
    again = registry.register("tiny", "/models/a", run_id, {"sft.digest": "1"})
    other = registry.register("tiny", "/models/b", run_id, {"sft.digest": "2"})
    assert (first.version, again.version, other.version) == (1, 1, 2)
    assert first.run_id == run_id
    assert first.tags == {"sft.digest": "1", "meditron.model": "/models/a"}


def test_an_alias_moves_from_version_to_version(platform, run_id):
    registry = ModelRegistry(platform.tracking.uri)
    assert registry.find("tiny", "champion") is None
    first = registry.register("tiny", "/models/a", run_id, {})
    assert registry.find("tiny", "champion") is None
    registry.set_alias(first, "champion")
    registry.set_alias(first, "challenger")
    second = registry.register("tiny", "/models/b", run_id, {})
    registry.set_alias(second, "challenger")
    assert registry.find("tiny", "champion") == registry.get("tiny", 1)
    assert registry.get("tiny", 1).aliases == ("champion",)
    assert registry.get("tiny", "2").aliases == ("challenger",)


def test_tags_are_added_to_those_that_are_there(platform, run_id):
    registry = ModelRegistry(platform.tracking.uri)
    version = registry.register("tiny", "/models/a", run_id, {"a": "1"})
    registry.set_tags(version, {"b": "2"})
    assert registry.get("tiny", 1).tags == {"a": "1", "b": "2", "meditron.model": "/models/a"}


@pytest.mark.parametrize(("name", "version"), [("tiny", 7), ("other", 1), ("tiny", "champion")])
def test_a_version_that_is_not_there_is_named(platform, run_id, name, version):
    registry = ModelRegistry(platform.tracking.uri)
    registry.register("tiny", "/models/a", run_id, {})
    with pytest.raises(InputError, match=f"no version {version} of model {name}"):
        registry.get(name, version)
