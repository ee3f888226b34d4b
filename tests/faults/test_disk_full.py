"""A disk that runs full: told with the place and what is free, nothing is half written, and a rerun finishes it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.torch import save_file
from torch import zeros

from components.platform import storage
from components.platform.errors import InputError, UserError
from components.platform.indexed import IndexedWriter
from components.platform.manifest import MANIFEST_NAME, Manifest
from components.platform.settings import Settings
from components.platform.stage import produce
from components.training.disk import check_room
from components.training.models import read_config
from tests.training.test_resume import make_job
from tests.training.tiny import tiny_settings

SMALL_MB = 4
LARGE = np.random.default_rng(0).integers(0, 1 << 16, 4 << 20, dtype=np.uint16)  # 8 MB that nothing compresses


class Wanted(Settings):
    """Settings of the stage in this file."""


@pytest.fixture
def disk(tmp_path: Path):
    """A real disk of a few megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_MB}m", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("to mount a small disk takes root and a container that may mount")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def grow(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)


def write_tokens(folder: Path) -> None:
    with IndexedWriter(folder / "tokens", np.uint16) as writer:
        writer.add(LARGE)


WRITERS = {
    "text": lambda folder: storage.write_atomically(folder / "text", LARGE.tobytes().hex()),
    "tokens": write_tokens,
    "parquet": lambda folder: pl.DataFrame({"x": LARGE}).write_parquet(
        folder / "x.parquet", compression="uncompressed"
    ),
    "weights": lambda folder: save_file({"x": zeros(4 << 20)}, folder / "x.safetensors"),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_result_that_does_not_fit(platform, disk, tmp_path, write):
    def work(folder: Path) -> dict:
        write(folder)
        return {}

    small = platform.model_copy(update={"workspace": str(disk)})
    with pytest.raises(UserError, match=r"/disk/wanted/\w+: the disk is full \(\d+ MB of 4 free\)") as caught:
        produce("wanted", Wanted(), {}, small, work)
    assert "Make room there and run again" in str(caught.value)
    assert not list(disk.rglob(MANIFEST_NAME))
    grow(disk)
    again = produce("wanted", Wanted(), {}, small, work)
    elsewhere = produce("wanted", Wanted(), {}, platform, work)
    assert again.digest == elsewhere.digest
    assert again.local()


def test_room_for_all_but_the_manifest(platform, disk):
    """The last file that a result needs is its smallest."""
    free = shutil.disk_usage(disk).free

    def work(folder: Path) -> dict:
        path = folder / "filling"
        if not path.exists():
            with path.open("wb") as file, pytest.raises(OSError):
                file.write(bytes(2 * free))
        return {"more": "x" * 5000}

    small = platform.model_copy(update={"workspace": str(disk)})
    with pytest.raises(UserError, match=r"the disk is full \(0 MB of 4 free\)"):
        produce("wanted", Wanted(), {}, small, work)
    assert not list(disk.rglob("manifest*")), "nor half of it"
    grow(disk)
    assert Manifest.load(produce("wanted", Wanted(), {}, small, work).uri).local()


def test_training_that_would_not_fit_is_told_before_it_starts(disk, tmp_path):
    """The checkpoints of the tiny model are of 12 bytes per parameter; in the end two are kept, and one is written."""
    job = make_job(tmp_path / "run", tiny_settings((1, 1, 1), save_interval=2))
    config = read_config(job.base)
    output = disk / "run"
    output.mkdir()
    there = job.model_copy(update={"output": output})
    check_room(there, config)
    (disk / "of others").write_bytes(bytes((SMALL_MB << 20) - (100 << 10)))
    with pytest.raises(InputError, match=r"/disk/run: .*GB of room, but 3 checkpoints and the model need .*make room"):
        check_room(there, config)
    (disk / "of others").rename(output / "checkpoint")  # of an earlier start: it is replaced as training goes on
    check_room(there, config)
