"""Checkpoints that are whole or not there, and that are checked before they are trusted.

`<folder>/iteration-0000040/` holds `rank-00003.safetensors` of each rank and `checkpoint.json`, which is written last
and lists the size and SHA-256 of every file. The folder is written under a hidden name and renamed when complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor

from components.platform.errors import InputError
from components.platform.storage import write_atomically
from components.training.parallel.layout import ParallelLayout
from components.training.process import Process

MARKER = "checkpoint.json"
_NAME = re.compile(r"iteration-(\d{7})")
_DIGEST_BYTES = hashlib.sha256().digest_size


class Checkpoints:
    """The checkpoints of one training run. All methods are collective: every rank calls them together."""

    def __init__(self, folder: Path, process: Process, keep: int) -> None:
        """`folder` is on storage that all ranks share; the newest `keep` complete checkpoints stay."""
        self.folder, self._process, self._keep = folder, process, keep
        self._file_name = f"rank-{process.layout.rank:05}.safetensors"

    def save(self, iteration: int, state: Mapping[str, Tensor]) -> None:
        """Write this rank's `state`; when the call returns, the checkpoint is complete and on disk."""
        unfinished = self.folder / f".iteration-{iteration:07}.unfinished"
        if self._process.is_main:
            for left_behind in self.folder.glob(".*.unfinished"):
                shutil.rmtree(left_behind)
            unfinished.mkdir(parents=True)
        dist.barrier()
        path = unfinished / self._file_name
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
        _flush_to_disk(path)
        files = self._gather_entries(path)
        if self._process.is_main:
            marker = {"iteration": iteration, "layout": _sizes(self._process.layout), "files": files}
            write_atomically(unfinished / MARKER, json.dumps(marker, indent=1))
            target = self._path(iteration)
            shutil.rmtree(target, ignore_errors=True)  # a corrupted one that was passed over at resume
            os.replace(unfinished, target)
            _flush_to_disk(self.folder)
            self._remove_old()
        dist.barrier()

    def load_newest(self) -> tuple[int, dict[str, Tensor]] | None:
        """Iteration and this rank's state of the newest checkpoint that is intact on every rank.

        Raises:
            InputError: it was written in another layout.
        """
        for iteration in self._agreed_candidates():
            problem = self._problem(iteration)
            if self._all_ranks(problem is None):
                state = load_file(self._path(iteration) / self._file_name)
                return iteration, state
            if problem is not None:
                print(f"checkpoint of iteration {iteration} is passed over: {problem}", flush=True)
        return None

    def iterations(self) -> list[int]:
        """Iterations of the checkpoints that are complete, newest first (they may have been damaged since)."""
        if not self.folder.is_dir():
            return []
        names = (_NAME.fullmatch(path.name) for path in self.folder.iterdir() if (path / MARKER).is_file())
        return sorted((int(name[1]) for name in names if name), reverse=True)

    def _path(self, iteration: int) -> Path:
        return self.folder / f"iteration-{iteration:07}"

    def _problem(self, iteration: int) -> str | None:
        """What is wrong with this rank's part of a checkpoint, if anything is."""
        marker_path, path = self._path(iteration) / MARKER, self._path(iteration) / self._file_name
        try:
            marker = json.loads(marker_path.read_text(encoding="utf-8"))
            layout, entry = marker["layout"], marker["files"].get(self._file_name)
        except (OSError, ValueError, KeyError) as error:
            return f"{marker_path}: {error!r}"
        if layout != _sizes(self._process.layout):
            raise InputError(
                f"{marker_path}: written by a layout of {layout}, but this run has {_sizes(self._process.layout)}; "
                "resume in the layout it was written by"
            )
        try:
            return None if _entry(path) == entry else f"{path}: differs from what {MARKER} says"
        except OSError as error:
            return f"{path}: {error}"

    def _agreed_candidates(self) -> list[int]:
        """The main rank's list, so that all ranks look at the same checkpoints in the same order."""
        iterations = self.iterations() if self._process.is_main else []
        count = torch.tensor(len(iterations), device=self._process.device)
        dist.broadcast(count, src=0)
        shared = torch.zeros(int(count), dtype=torch.int64, device=self._process.device)
        shared[: len(iterations)] = torch.tensor(iterations, dtype=torch.int64)
        dist.broadcast(shared, src=0)
        return shared.tolist()

    def _all_ranks(self, condition: bool) -> bool:
        vote = torch.tensor(int(condition), device=self._process.device)
        dist.all_reduce(vote, dist.ReduceOp.MIN)
        return bool(vote)

    def _gather_entries(self, path: Path) -> dict[str, dict[str, str | int]]:
        """Name → size and hash of the files of all ranks."""
        entry = _entry(path)
        packed = bytes.fromhex(entry["sha256"]) + entry["bytes"].to_bytes(8, "little")
        own = torch.tensor(list(packed), dtype=torch.uint8, device=self._process.device)
        gathered = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, own)
        entries = {}
        for rank, tensor in enumerate(gathered):
            packed = bytes(tensor.tolist())
            entries[f"rank-{rank:05}.safetensors"] = {
                "bytes": int.from_bytes(packed[_DIGEST_BYTES:], "little"),
                "sha256": packed[:_DIGEST_BYTES].hex(),
            }
        return entries

    def _remove_old(self) -> None:
        for iteration in self.iterations()[self._keep :]:
            shutil.rmtree(self._path(iteration))


def _sizes(layout: ParallelLayout) -> dict[str, int]:
    sizes = asdict(layout)
    del sizes["rank"]
    return sizes


def _entry(path: Path) -> dict[str, str | int]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
