"""Recipe settings: every mistake names the file, the line and the key."""

import pytest
from pydantic import Field, model_validator

from components.platform.errors import SettingsError
from components.platform.settings import Settings, load_section, read_recipe, validate


class Layout(Settings):
    tensor_parallel_size: int = Field(default=1, ge=1)


class Stage(Settings):
    lr: float
    layout: Layout = Layout()
    sources: list[Layout] = []

    @model_validator(mode="after")
    def _positive(self):
        if self.lr <= 0:
            raise ValueError("lr must be above 0; try 3e-4")
        return self


def load(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return load_section(path, "stage", Stage)


def test_reads_a_section_and_numbers_in_any_notation(tmp_path):
    stage = load(tmp_path, "stage:\n  lr: 3e-4\n  layout: {tensor_parallel_size: 2}\n")
    assert stage.lr == 3e-4
    assert stage.layout.tensor_parallel_size == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "stage:\n  lr: 1\n  layot: {}\n",
            r"recipe.yaml:3: stage.layot: unknown key; did you mean `layout`\?",
        ),
        (
            "stage:\n  lr: 1\n  layout:\n    tp: 2\n",
            r"recipe.yaml:4: stage.layout.tp: .*known keys: tensor_parallel",
        ),
        (
            "stage:\n  lr: 1\n  sources:\n    - {}\n    - {x: 1}\n",
            r"recipe.yaml:5: stage.sources.1.x: unknown key",
        ),
        ("stage:\n  lr: fast\n", r"recipe.yaml:2: stage.lr: .*valid number.*'fast'"),
        (
            "stage:\n  lr: 1\n  layout:\n    tensor_parallel_size: 0\n",
            r"recipe.yaml:4: .*greater than or equal to 1",
        ),
        ("stage:\n  layout: {}\n", r"recipe.yaml:1: stage.lr: this key is required"),
        ("stage:\n  lr: -1\n", r"recipe.yaml:1: stage: lr must be above 0; try 3e-4"),
        ("stage:\n  lr: 1\n  lr: 2\n", r"recipe.yaml:3: lr: this key is given twice"),
        ("stage: [\n", "not valid YAML"),
        ("- 1\n", "expected sections"),
        ("other: {}\n", "no section `stage:`"),
    ],
)
def test_mistakes_name_line_and_key(tmp_path, text, message):
    with pytest.raises(SettingsError, match=message):
        load(tmp_path, text)


def test_reports_all_mistakes_at_once(tmp_path):
    with pytest.raises(SettingsError) as error:
        load(tmp_path, "stage:\n  lr: x\n  bad: 1\n")
    assert len(str(error.value).splitlines()) == 2


def test_missing_recipe(tmp_path):
    with pytest.raises(SettingsError, match="no such recipe file"):
        read_recipe(tmp_path / "none.yaml")


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Stage(lr=1).lr = 2


def test_line_of_top_level_key(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("a: 1\nlr: x\n")
    with pytest.raises(SettingsError, match=r"r.yaml:1: a: unknown key"):
        validate(Stage, (recipe := read_recipe(path)).values, recipe)
