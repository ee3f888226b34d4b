"""A person overrides the gate: recorded with a reason, forward and back."""

import json
import shutil

import pytest

from components.platform.tracking.models import ModelRegistry
from components.platform.tracking.runs import stage_run
from components.registry.promotion import CHAMPION, PREVIOUS, PROMOTION_TAG
from pipelines.cli import main
from pipelines.recipe import load_recipe, recipe_path


@pytest.fixture
def promote(tmp_path, monkeypatch):
    """`meditron promote` on a recipe of this test's: promote("--model-version", "1", ...)."""
    monkeypatch.chdir(tmp_path)
    recipe = recipe_path("laptop").read_text().replace("sqlite:///runs", f"sqlite:///{tmp_path}")
    (tmp_path / "recipe.yaml").write_text(recipe)
    return lambda *arguments: main(["promote", "--recipe", "recipe.yaml", *arguments])


@pytest.fixture
def registry(promote):
    """Two versions of the recipe's model; none is champion."""
    platform = load_recipe("recipe.yaml").platform
    with stage_run(platform, "register", {}) as run:
        registry = ModelRegistry(platform.tracking.uri)
        for model in ("a", "b"):
            registry.register("meditron-laptop", f"/models/{model}", run.run_id, {"decision": "kept as challenger"})
    return registry


def test_forward_and_back(promote, registry, capsys, monkeypatch):
    monkeypatch.setenv("LOGNAME", "dr-adams")
    assert promote("--model-version", "1", "--reason", "reviewed by hand") == 0
    assert promote("--model-version", "2", "--reason", "newer guidelines") == 0
    out = capsys.readouterr().out
    assert "version 2 is champion (instead of version 1); the gate had it kept as challenger" in out
    assert registry.get("meditron-laptop", 1).aliases == (PREVIOUS,)
    assert promote("--model-version", "1", "--reason", "2 was worse on the ward") == 0
    assert registry.find("meditron-laptop", CHAMPION).version == 1
    assert registry.find("meditron-laptop", PREVIOUS).version == 2
    tags = registry.get("meditron-laptop", 2).tags
    [note] = [json.loads(value) for key, value in tags.items() if key.startswith(PROMOTION_TAG)]
    assert note == {"by": "dr-adams", "reason": "newer guidelines", "instead_of": 1}
    capsys.readouterr()
    assert promote() == 0
    shown = capsys.readouterr().out
    assert "dr-adams: newer guidelines" in shown
    assert shown.index("dr-adams: reviewed by hand") < shown.index("dr-adams: 2 was worse on the ward")
    assert "kept as challenger" in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model-version", "1"], "--reason: expected why"),
        (["--model-version", "1", "--reason", "  "], "--reason: expected why"),
        (["--model-version", "7", "--reason", "x"], "no version 7 of model meditron-laptop"),
    ],
)
def test_what_is_refused(promote, registry, capsys, arguments, says):
    assert promote(*arguments) == 1
    assert says in capsys.readouterr().err
    assert registry.find("meditron-laptop", CHAMPION) is None


def test_the_champion_is_not_promoted_again(promote, registry, capsys):
    promote("--model-version", "1", "--reason", "x")
    assert promote("--model-version", "1", "--reason", "y") == 1
    assert "version 1 is the champion already" in capsys.readouterr().err


def test_no_versions(promote, capsys, tmp_path, empty_mlflow):
    assert promote() == 1
    assert "mlflow.db: no such file; expected the database of MLflow" in capsys.readouterr().err
    assert not (tmp_path / "mlflow.db").exists(), "to look makes none"
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    assert promote() == 1
    assert "has no model meditron-laptop; run the recipe first" in capsys.readouterr().err
