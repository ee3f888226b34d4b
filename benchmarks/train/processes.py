"""Worker processes of a case, kept waiting between measurements so that several cases can take turns."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from benchmarks.train.cases import Case

OUTPUT_LINES = 20  # of a worker's output, quoted when it fails


@dataclass(frozen=True)
class Step:
    """One training step over all ranks: CPU seconds are summed, wall seconds and memory are the largest."""

    loss: float
    cpu: float
    wall: float
    memory: float


class CaseError(RuntimeError):
    """A worker failed; the message ends with the last lines of its output."""


class Workers:
    """The ranks of one case."""

    def __init__(self, case: Case, time_limit: float) -> None:
        """`time_limit`: seconds after which the ranks are killed, whatever they do."""
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `close`
        self._ranks = [self._start(case, rank, port) for port in [_free_port()] for rank in range(case.world_size)]
        self._timer = threading.Timer(time_limit, self.kill)
        self._timer.start()

    def wait_until_ready(self) -> None:
        """
        Raises:
            CaseError: a rank failed while it started.
        """
        for rank in self._ranks:
            self._answer(rank)

    def steps(self, count: int) -> list[Step]:
        """Take `count` steps.

        Raises:
            CaseError: a rank failed.
        """
        for rank in self._ranks:
            _pipe(rank.stdin).write(f"{count}\n")
            _pipe(rank.stdin).flush()
        answers = [self._answer(rank) for rank in self._ranks]
        return [
            Step(
                loss=ranks[0]["loss"],
                cpu=sum(rank["cpu"] for rank in ranks),
                wall=max(rank["wall"] for rank in ranks),
                memory=max(rank.get("memory", 0) for rank in ranks),
            )
            for ranks in zip(*answers, strict=True)
        ]

    def kill(self) -> None:
        for rank in self._ranks:
            rank.kill()

    def close(self) -> None:
        self._timer.cancel()
        self.kill()
        for rank in self._ranks:
            rank.wait()
            _pipe(rank.stdin).close()
            _pipe(rank.stdout).close()
        self._log.close()

    def _start(self, case: Case, rank: int, port: int) -> subprocess.Popen[str]:
        env = os.environ | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(case.world_size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "PYTORCH_ALLOC_CONF": "expandable_segments:True",
        }
        if case.device == "cpu":
            env["OMP_NUM_THREADS"] = "1"
        command = [sys.executable, "-m", "benchmarks.train.worker", case.to_json()]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._log, env=env, text=True)

    def _answer(self, rank: subprocess.Popen[str]) -> list[dict[str, float]]:
        line = _pipe(rank.stdout).readline()
        if line:
            return json.loads(line)
        self._log.seek(0)
        raise CaseError("\n".join(self._log.read().splitlines()[-OUTPUT_LINES:]) or "killed at its time limit")


@contextmanager
def started(case: Case, time_limit: float) -> Iterator[Workers]:
    """Workers that are ready; they are gone afterwards."""
    workers = Workers(case, time_limit)
    try:
        workers.wait_until_ready()
        yield workers
    finally:
        workers.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None, "all pipes are opened"
    return stream
