"""Runs a function on several ranks, forked from a server that has imported torch and DeepSpeed once."""

from __future__ import annotations

import multiprocessing
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["components.training.trainer"])


class Outcome(NamedTuple):
    """How a rank ended: its exit code (None: it had to be killed) and the exception that ended it, if one did."""

    code: int | None
    error: str


def run_ranks(world_size: int, function: Callable[..., None], *args: Any) -> None:
    """Call `function(*args)` in `world_size` processes with torchrun's environment; all must end well."""
    ends = outcomes(world_size, function, *args)
    assert [end.code for end in ends] == [0] * world_size, ends


def outcomes(world_size: int, function: Callable[..., None], *args: Any, timeout: float = 200) -> list[Outcome]:
    """As `run_ranks`, for ranks that may fail."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        errors = [Path(folder, str(rank)) for rank in range(world_size)]
        ranks = [
            _context.Process(target=_rank, args=(rank, world_size, port, errors[rank], function, args), daemon=True)
            for rank in range(world_size)
        ]
        for rank in ranks:
            rank.start()
        try:
            for rank in ranks:
                rank.join(timeout)
            return [
                Outcome(rank.exitcode, error.read_text() if error.exists() else "")
                for rank, error in zip(ranks, errors, strict=True)
            ]
        finally:
            for rank in ranks:
                rank.kill()


def _rank(rank: int, world_size: int, port: int, error: Path, function: Callable[..., None], args: tuple) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    try:
        function(*args)
    except Exception as exception:
        error.write_text(f"{type(exception).__name__}: {exception}")
        raise
