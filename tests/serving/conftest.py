"""Exported models, and a server for one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serving.models import export_models

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    export_models(folder)
    return folder


@pytest.fixture
def cat(models: Path) -> Path:
    """Artifact of a model that answers "cat"."""
    return models / "cat"


@pytest.fixture(scope="session")
def compressed_cat(models: Path) -> Path:
    """The same in 4 bits."""
    from components.quantization.awq import load_model, quantize_by_rounding, save_compressed
    from components.quantization.stage import copy_companions

    source, target = models / "cat" / "model", models / "cat-awq" / "model"
    model = load_model(source)
    quantize_by_rounding(model, group_size=32)
    save_compressed(model, target)
    copy_companions(source, target)
    return target.parent
