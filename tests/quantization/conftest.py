"""A platform and a small corpus."""

from __future__ import annotations

from pathlib import Path

import polars
import pytest
import torch

from components.platform.context import PlatformSettings
from components.platform.manifest import Manifest
from tests.quantization.tiny_llama import texts


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def platform(tmp_path: Path) -> PlatformSettings:
    return PlatformSettings(data=str(tmp_path), workspace=str(tmp_path / "workspace"), tracking={"uri": "unused"})


@pytest.fixture
def corpus(tmp_path: Path) -> Manifest:
    """Three groups of 12 training and 6 validation documents."""
    folder = tmp_path / "corpus"
    for split, count in (("train", 12), ("validation", 6)):
        (folder / "documents" / split).mkdir(parents=True)
        for offset, group in enumerate(("guidelines", "papers", "abstracts")):
            table = polars.DataFrame({"id": [f"{group}-{i}" for i in range(count)], "text": texts(count, offset)})
            table.write_parquet(folder / "documents" / split / f"{group}.parquet")
    return Manifest.of_folder("corpus", folder)
