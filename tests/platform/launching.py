"""Runs `launch` beside a test that plays the cluster, and follows what it prints."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.platform.launcher import JobSpec, launch
from components.platform.launcher.settings import LauncherSettings
from tests.loopback import write_kubeconfig
from tests.platform.cluster import DEADLINE_SECONDS, NAMESPACE, Cluster

JOB = JobSpec("pretrain", "some.module", (), nproc_per_node=8, nnodes=2)


def settings(kind: str = "pytorchjob", launcher: dict[str, Any] | None = None, **pods: Any) -> LauncherSettings:
    described = {"namespace": NAMESPACE, "image": "i", "poll_seconds": 0.02} | pods
    return LauncherSettings.model_validate({"kind": kind, "pytorchjob": described} | (launcher or {}))


class Launch:
    """A launcher at work in a thread of its own."""

    def __init__(self, capsys: pytest.CaptureFixture[str], job: JobSpec, launcher: LauncherSettings) -> None:
        self.output = ""
        self._capsys = capsys
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(job, launcher), daemon=True)
        self._thread.start()

    def _run(self, job: JobSpec, launcher: LauncherSettings) -> None:
        try:
            launch(job, launcher)
        except BaseException as error:
            self._error = error

    def says(self, text: str) -> None:
        """Wait until it has printed `text`."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while text not in self._read():
            assert self._thread.is_alive(), f"ended without saying {text!r}: {self._error!r}\n{self._read()}"
            assert time.monotonic() < deadline, f"did not say {text!r}:\n{self.output}"
            time.sleep(0.005)

    def ends(self) -> None:
        """Wait for its end; raises what it raises."""
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive(), f"does not end:\n{self._read()}"
        self._read()
        if self._error is not None:
            raise self._error

    @property
    def log(self) -> list[str]:
        """What it has printed of the job's, without what it says itself."""
        return [line for line in self._read().splitlines() if not line.startswith("pretrain  ")]

    def _read(self) -> str:
        self.output += self._capsys.readouterr().out
        return self.output


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster that the kubernetes client uses."""
    for variable in ("KFP_RUN_ID", "KFP_POD_NAME", "KFP_POD_UID", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(variable, raising=False)
    cluster = Cluster()
    write_kubeconfig(tmp_path / "kubeconfig", cluster.server_port)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield cluster
    cluster.close()


@pytest.fixture
def start(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> Callable[..., Launch]:
    """Starts a launcher: start(job, settings)."""

    def start_launch(job: JobSpec = JOB, launcher: LauncherSettings | None = None) -> Launch:
        return Launch(capsys, job, launcher or settings())

    return start_launch
