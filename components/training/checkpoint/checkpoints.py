"""Checkpoints: complete or not there, checked before they are trusted, written while training goes on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import torch.distributed as dist
from torch import Tensor

from components.platform import storage
from components.platform.errors import InputError, UserError
from components.training.checkpoint.files import read_fragments, snapshot, write_fragments
from components.training.checkpoint.fragments import Fragment, Place
from components.training.checkpoint.store import MARKER, Store
from components.training.parallel.layout import ParallelLayout
from components.training.process import Process

_POLL_SECONDS = 0.1  # between looks for the files of other ranks


class CheckpointError(UserError):
    """A checkpoint could not be written."""


class Checkpoints:
    """The checkpoints of one training run. Methods are collective, every rank calls them together, unless they say no.

    Ranks tell each other through the store, not through messages, that a file is written: so a save needs no
    communication that could come between that of training.
    """

    def __init__(self, store: Store, process: Process, *, keep: int, keep_every: int, timeout_minutes: int) -> None:
        """Look after the checkpoints in `store`.

        Args:
            store: where they lie; the same place for all ranks.
            process: this rank.
            keep: the newest so many checkpoints stay.
            keep_every: the first checkpoint at or after each multiple of this stays, too; 0: only the newest.
            timeout_minutes: the longest wait for the files of other ranks.
        """
        self._store, self._process = store, process
        self._keep, self._keep_every, self._timeout = keep, keep_every, 60 * timeout_minutes
        self._saving: _BackgroundCall | None = None

    def save(self, iteration: int, fragments: Mapping[str, Fragment], step: int) -> None:
        """Copy what this rank owns, and write it in the background; an earlier save is waited for.

        Args:
            iteration: iterations that are done.
            fragments: what this rank owns, by parameter.
            step: the optimizer's step count.

        Raises:
            CheckpointError: the earlier save failed.
        """
        self._finish_own()
        tensors, places = snapshot(fragments)
        self._saving = _BackgroundCall(self._write, iteration, tensors, places, step)

    def raise_if_failed(self) -> None:
        """Tell of an error in the background. Not collective.

        Raises:
            CheckpointError: this rank's part could not be written, or the others' never appeared.
        """
        if self._saving and self._saving.error:
            raise CheckpointError(str(self._saving.error)) from self._saving.error

    def wait(self) -> None:
        """Return when the save under way, if any, is complete and on disk on all ranks.

        Raises:
            CheckpointError: as `raise_if_failed`.
        """
        self._finish_own()
        dist.barrier()

    def newest_intact(self) -> int | None:
        """Iteration of the newest checkpoint whose files are all there and unchanged; None when none was written.

        What an interrupted save left behind is removed.

        Raises:
            InputError: there are checkpoints, but all are damaged.
        """
        self.wait()
        if self._process.is_main:
            self._store.remove_unfinished()
        # The main rank's list, so that all ranks look at the same checkpoints in the same order.
        candidates = _from_all_ranks(self.iterations())[0]
        for iteration in candidates:
            problems = [problem for problem in _from_all_ranks(self._problem(iteration)) if problem]
            if not problems:
                return iteration
            if self._process.is_main:
                print(f"checkpoint of iteration {iteration} is passed over: {problems[0]}", flush=True)
        if candidates:
            raise InputError(f"{self._store}: all checkpoints are damaged; remove them to train from the start")
        return None

    def load(self, iteration: int, fragments: Mapping[str, Fragment]) -> int:
        """Fill `fragments` from an intact checkpoint, whatever layout wrote it. Not collective.

        Returns:
            The optimizer's step count.

        Raises:
            InputError: it is a checkpoint of another model.
        """
        files = json.loads(storage.read_text(self._store.location(iteration, MARKER)))["files"]
        return read_fragments(self._store.fetched(iteration, sorted(files)), fragments)

    def iterations(self) -> list[int]:
        """Iterations of the checkpoints that are complete, newest first (they may have been damaged since)."""
        return self._store.iterations()

    def _finish_own(self) -> None:
        if self._saving:
            self._saving.join()
            self.raise_if_failed()
            self._saving = None

    def _write(self, iteration: int, tensors: dict[str, Tensor], places: Mapping[str, Place], step: int) -> None:
        """Runs in the background, on each rank."""
        name = _file_name(self._process.layout.rank)
        try:
            path = self._store.draft(iteration, name)
            write_fragments(path, tensors, places, step)
            self._store.publish(path)
            if self._process.is_main:
                self._complete(iteration)
        except Exception as error:
            place = self._store.location(iteration, name)
            raise CheckpointError(
                f"checkpoint of iteration {iteration} could not be written: {place}: {error}"
            ) from error

    def _complete(self, iteration: int) -> None:
        """When all ranks have written: the marker, by which a checkpoint is found."""
        files = {}
        deadline = time.monotonic() + self._timeout
        for rank in range(self._process.layout.world_size):
            name = _file_name(rank)
            while (entry := self._store.entry(iteration, name)) is None:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"waited {self._timeout} seconds for {name} of rank {rank}")
                time.sleep(_POLL_SECONDS)
            files[name] = entry
        layout = _sizes(self._process.layout)
        self._store.complete(iteration, {"iteration": iteration, "layout": layout, "files": files})
        self._remove_old(iteration)

    def _remove_old(self, newest: int) -> None:
        """Newer ones than the one just written were passed over, so they don't count among those to keep."""
        iterations = [iteration for iteration in self.iterations() if iteration <= newest]
        for iteration, before in pairwise([*iterations, 0][self._keep :]):
            if not self._keep_every or iteration // self._keep_every == before // self._keep_every:
                self._store.remove(iteration)

    def _problem(self, iteration: int) -> str | None:
        """What is wrong with this rank's share of the files of a checkpoint, if anything is."""
        marker = self._store.location(iteration, MARKER)
        try:
            record = json.loads(storage.read_text(marker))
            if record["iteration"] != iteration:
                return f"{marker}: is of iteration {record['iteration']}"
            entries = sorted(record["files"].items())
            layout = self._process.layout
            for name, entry in entries[layout.rank :: layout.world_size]:
                found = self._store.measured(iteration, name)
                for key, expected in entry.items():
                    if found[key] != expected:
                        place = self._store.location(iteration, name)
                        return f"{place}: {key} is {found[key]}, but {MARKER} says {expected}"
        except OSError as error:
            return f"{error.filename}: {error.strerror}"
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return f"{marker}: not a checkpoint's list of files: {error!r}"
        return None


class _BackgroundCall(threading.Thread):
    """A call that runs beside training; how it failed, if it did, is in `error`.

    A daemon, so that a process that fails in the meantime ends at once.
    """

    def __init__(self, function: Callable[..., None], *arguments: Any) -> None:
        super().__init__(name="checkpoint", daemon=True)
        self._function, self._arguments = function, arguments
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._function(*self._arguments)
        except Exception as error:
            self.error = error
        finally:
            del self._arguments  # the copies in memory


def _from_all_ranks(value: Any) -> list[Any]:
    values = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def _file_name(rank: int) -> str:
    return f"rank-{rank:05}.safetensors"


def _sizes(layout: ParallelLayout) -> dict[str, int]:
    sizes = asdict(layout)
    del sizes["rank"]
    return sizes
