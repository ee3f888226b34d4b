"""Checkpoints are complete or not there, damage to them is noticed, and errors in the background are told."""

from __future__ import annotations

import json
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from components.platform.errors import InputError
from components.training.checkpoint import CheckpointError, Checkpoints, checkpoints, open_store
from components.training.checkpoint.fragments import Fragment, Place
from components.training.parallel.layout import ParallelLayout
from components.training.process import Process

NAME, LENGTH = "model.norm.weight", 1000


@pytest.fixture(autouse=True)
def world() -> Iterator[None]:
    """A world of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def open_folder(folder: Path, rank: int = 0, ranks: int = 1, **changes: int) -> Checkpoints:
    process = Process(ParallelLayout(1, 1, ranks, rank=rank), groups=None, device=torch.device("cpu"))
    return Checkpoints(
        open_store(str(folder), rank), process, **{"keep": 2, "keep_every": 0, "timeout_minutes": 1} | changes
    )


def state(value: float, rank: int = 0, ranks: int = 1) -> dict[str, Fragment]:
    part = LENGTH // ranks
    tensors = {kind: torch.full((part,), value) for kind in ("master", "exp_avg", "exp_avg_sq")}
    return {NAME: Fragment(Place(1, LENGTH, 0, LENGTH, rank * part), tensors, is_replica=False)}


def save(folder: Path, *iterations: int, ranks: int = 1, **changes: int) -> None:
    """Save as each rank of a run does; the numbers in the checkpoint are those of the iteration."""
    run = [open_folder(folder, rank, ranks, **changes) for rank in range(ranks)]
    for iteration in iterations:
        for rank, own in enumerate(run):
            own.save(iteration, state(float(iteration), rank, ranks), step=iteration)
        for own in run:
            own.wait()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_newest_and_every_so_many_stay(tmp_path: Path) -> None:
    save(tmp_path, *range(2, 21, 2), keep=2, keep_every=6)
    assert open_folder(tmp_path).iterations() == [20, 18, 12, 6]
    save(tmp_path, 22, 25, 28, keep=1, keep_every=6)  # 24 was missed: the first one after it stays
    assert open_folder(tmp_path).iterations() == [28, 25, 18, 12, 6]
    assert names(tmp_path) == [f"iteration-{number:07}" for number in (6, 12, 18, 25, 28)]


def test_training_goes_on_while_a_copy_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is what was there when `save` was called, byte for byte as if nothing had gone on."""
    save(tmp_path / "alone", 3)
    may_write, whole_write = threading.Event(), checkpoints.write_fragments

    def write(*arguments: object) -> None:
        may_write.wait()
        whole_write(*arguments)

    monkeypatch.setattr(checkpoints, "write_fragments", write)
    folder = open_folder(tmp_path / "beside")
    fragments = state(3.0)
    folder.save(3, fragments, step=3)
    for tensor in fragments[NAME].tensors.values():
        tensor.fill_(4.0)
    assert folder.iterations() == []
    may_write.set()
    folder.wait()
    one, other = (tmp_path / side / "iteration-0000003" for side in ("alone", "beside"))
    assert names(one) == names(other) == ["checkpoint.json", "rank-00000.safetensors"]
    for name in names(one):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_complete_when_all_ranks_have_written(tmp_path: Path) -> None:
    first, second = (open_folder(tmp_path, rank, ranks=2) for rank in range(2))
    first.save(1, state(1.0, rank=0, ranks=2), step=1)
    hidden = tmp_path / ".iteration-0000001.unfinished"
    while not (hidden / "rank-00000.safetensors").exists() and first._saving.is_alive():
        pass
    first._saving.join(timeout=0.5)
    assert first._saving.is_alive()
    assert first.iterations() == []
    second.save(1, state(1.0, rank=1, ranks=2), step=1)
    second.wait()
    first.wait()
    assert first.iterations() == [1]
    marker = json.loads((tmp_path / "iteration-0000001" / "checkpoint.json").read_text())
    assert list(marker["files"]) == ["rank-00000.safetensors", "rank-00001.safetensors"]
    assert names(tmp_path / "iteration-0000001") == ["checkpoint.json", *marker["files"]]


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def wrong_iteration(path: Path) -> None:
    path.write_text(path.read_text().replace('"iteration": 4', '"iteration": 5'))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("rank-00001.safetensors", flip_a_bit, "sha256 is"),
        ("rank-00001.safetensors", cut_short, "bytes is"),
        ("rank-00001.safetensors", Path.unlink, "No such file or directory"),
        ("checkpoint.json", cut_short, "not a checkpoint's list of files"),
        ("checkpoint.json", wrong_iteration, "is of iteration 5"),
        ("checkpoint.json", Path.unlink, None),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture, name: str, damage: Callable[[Path], None], message: str | None
) -> None:
    """Without its marker it is not even looked at; else it is told which file is damaged, and how."""
    save(tmp_path, 2, 4, ranks=2)
    path = tmp_path / "iteration-0000004" / name
    damage(path)
    folder, fragments = open_folder(tmp_path), state(0.0)
    assert folder.newest_intact() == 2
    assert folder.load(2, fragments) == 2
    assert all(torch.equal(tensor, torch.full((LENGTH,), 2.0)) for tensor in fragments[NAME].tensors.values())
    output = capsys.readouterr().out
    if message is None:
        assert output == ""
    else:
        assert f"checkpoint of iteration 4 is passed over: {path}: " in output
        assert message in output


def test_all_are_damaged(tmp_path: Path) -> None:
    """Weeks of training are not begun anew without asking."""
    save(tmp_path, 2)
    cut_short(tmp_path / "iteration-0000002" / "rank-00000.safetensors")
    with pytest.raises(InputError, match=f"{tmp_path}: all checkpoints are damaged"):
        open_folder(tmp_path).newest_intact()


def test_a_damaged_one_does_not_count_among_the_newest(tmp_path: Path) -> None:
    save(tmp_path, 2, 6)
    flip_a_bit(tmp_path / "iteration-0000006" / "rank-00000.safetensors")
    save(tmp_path, 4, keep=1)
    assert open_folder(tmp_path).newest_intact() == 4
    save(tmp_path, 6, keep=1)
    assert open_folder(tmp_path).newest_intact() == 6


def test_what_a_crash_left_is_removed(tmp_path: Path) -> None:
    save(tmp_path, 2)
    hidden = tmp_path / ".iteration-0000004.unfinished"
    hidden.mkdir()
    (hidden / "rank-00000.json").write_text("{}")
    assert open_folder(tmp_path).newest_intact() == 2
    assert names(tmp_path) == ["iteration-0000002"]


@contextmanager
def no_room(size: int = 4096) -> Iterator[None]:
    """Writing to a file fails beyond `size` bytes, as on a full disk; Python has the signal ignored."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    save(tmp_path, 2)
    folder = open_folder(tmp_path)
    with no_room():
        folder.save(4, state(4.0), step=4)
        folder._saving.join()
    message = "checkpoint of iteration 4 could not be written: .*/rank-00000.safetensors: .*File too large"
    for call in (folder.raise_if_failed, folder.wait, lambda: folder.save(6, state(6.0), step=6)):
        with pytest.raises(CheckpointError, match=message):
            call()
    assert open_folder(tmp_path).newest_intact() == 2
    assert names(tmp_path) == ["iteration-0000002"]


def test_another_rank_never_writes(tmp_path: Path) -> None:
    folder = open_folder(tmp_path, ranks=2, timeout_minutes=0)
    folder.save(2, state(2.0, rank=0, ranks=2), step=2)
    with pytest.raises(CheckpointError, match="iteration 2 could not be written: .*waited .* rank-00001.safetensors"):
        folder.wait()
