"""Recipes are YAML: they make plain values, and aliases in them don't multiply."""

import pytest

from components.platform.errors import SettingsError
from components.platform.settings import read_recipe
from pipelines.recipe import load_recipe

LAUGHS = "a0: &a0 [ha]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30))


@pytest.fixture
def recipe(tmp_path):
    def write(text):
        (tmp_path / "recipe.yaml").write_text(text)
        return tmp_path / "recipe.yaml"

    return write


@pytest.mark.parametrize("text", [LAUGHS, "a: &a {b: *a}", "a: &a [*a]"], ids=["laughs", "mapping", "list"])
def test_aliases_without_end(recipe, text):
    """Read in a moment, and refused for its keys."""
    path = recipe(text)
    assert read_recipe(path).values
    with pytest.raises(SettingsError, match="recipe.yaml:1: a"):
        load_recipe(path)


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.mkdir [TRACE]", "!!python/name:os.mkdir", "!!python/module:os", "!evil x"]
)
def test_tags_make_no_objects(recipe, tmp_path, tag):
    with pytest.raises(SettingsError, match="not valid YAML"):
        read_recipe(recipe(f"corpus: {tag.replace('TRACE', str(tmp_path / 'ran'))}\n"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("text", ["[" * 2000, "a: " * 2000, "? [1]\n: 2\n", "a: " + "[" * 900 + "]" * 900])
def test_shapes_that_no_recipe_has(recipe, text):
    with pytest.raises(SettingsError):
        load_recipe(recipe(text))
