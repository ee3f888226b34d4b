"""How much memory weights may take."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.quantization.memory import memory_for_weights

GIB = 2**30


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    folder = tmp_path / "proc"
    folder.mkdir()
    (folder / "meminfo").write_text(f"MemTotal: {900 * 2**20} kB\nMemFree: 5 kB\nMemAvailable: {800 * 2**20} kB\n")
    return folder


def group(folder: Path, limit: str) -> Path:
    folder.mkdir()
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.stat").write_text(f"anon {6 * GIB}\nfile {90 * GIB}\n")
    return folder


def test_of_a_machine(tmp_path: Path, proc: Path) -> None:
    assert memory_for_weights(proc, tmp_path / "none") == 640 * GIB
    assert memory_for_weights(proc, group(tmp_path / "group", "max")) == 640 * GIB


def test_a_container_has_what_its_limit_leaves(tmp_path: Path, proc: Path) -> None:
    assert memory_for_weights(proc, group(tmp_path / "group", str(256 * GIB))) == 200 * GIB
    assert memory_for_weights(proc, group(tmp_path / "small", str(5 * GIB))) == 0


def test_of_this_one() -> None:
    assert memory_for_weights() > 0
