"""Exported models, and a server for one of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from components.serving.folder import find_model
from components.serving.server.backend import VLLM, Backend
from components.serving.server.front import Front
from tests.serving.models import export_models

ROOT = Path(__file__).parents[2]
SERVE = "import sys; from pipelines.cli import main; sys.exit(main(['serve', *sys.argv[1:]]))"


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


def start_server(scratch: Path, *options: str) -> subprocess.Popen[str]:
    """`meditron serve` with these options, in a process group of its own; its temporary files go to `scratch`."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVE, *options],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="session")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """`url` of a server with the endless model; it and its child must end well when they are told to."""
    scratch = tmp_path_factory.mktemp("server")
    process = start_server(scratch, "--model", str(models / "endless"), "--port", "0")
    output = ""
    for line in process.stdout:
        output += line
        if line.startswith("Chat page: "):
            break
    else:
        pytest.fail(f"the server ended with exit code {process.wait()}: {output}")
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    yield SimpleNamespace(url=line.removeprefix("Chat page: ").strip().rstrip("/"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert not any(child.is_running() for child in children)


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for vLLM on the path."""
    command = tmp_path / "bin" / "vllm"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\n{Path(__file__).with_name('stand_in_vllm.py').read_text()}")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=":")


@contextmanager
def running_front(model: Path, api_key: str | None) -> Iterator[SimpleNamespace]:
    """The server in a thread, with the stand-in for vLLM behind it: its `url`, and the `front` itself."""
    with Backend(VLLM, find_model(model)) as backend, socket.create_server(("127.0.0.1", 0)) as address:
        backend.wait_until_ready(60)
        front = Front(backend, api_key)
        thread = threading.Thread(target=front.run, kwargs={"sockets": [address]})
        thread.start()
        try:
            yield SimpleNamespace(url="http://{}:{}".format(*address.getsockname()), front=front)
        finally:
            front.should_exit = True
            thread.join()
