"""The process that holds the model: vLLM's OpenAI-compatible server, or transformers' own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from components.platform.errors import InputError
from components.platform.launcher.processes import die_with_parent
from components.serving.folder import ModelFolder
from components.serving.server.request import MODEL_NAME, ChatRequest, for_transformers, for_vllm

POLL_SECONDS = 0.2
GRACE_SECONDS = 5.0
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Engine:
    """A server that can be started: its command up to the address, and how requests are put to it."""

    name: str
    command: tuple[str, ...]
    adapt: Callable[[ChatRequest, ModelFolder], dict[str, Any]]


TRANSFORMERS = Engine(
    "transformers", (sys.executable, "-m", "transformers.cli.transformers", "serve", MODEL_NAME), for_transformers
)
VLLM = Engine("vLLM", ("vllm", "serve", MODEL_NAME, "--served-model-name", MODEL_NAME), for_vllm)


def choose_engine() -> Engine:
    """vLLM where its command and an accelerator are there."""
    if shutil.which("vllm") is None:
        return TRANSFORMERS
    import torch

    return VLLM if torch.accelerator.is_available() else TRANSFORMERS


class Backend:
    """A running engine on a loopback port of its own; leaving the context ends it and all it started."""

    def __init__(self, engine: Engine, model: ModelFolder) -> None:
        self.engine = engine
        self.model = model
        self._last_lines: deque[str] = deque(maxlen=40)

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="meditron-serve-")
        # Both servers name the model after its path, and transformers' takes what follows an @ for a revision.
        Path(self._folder.name, MODEL_NAME).symlink_to(self.model.path.resolve())
        port = _free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        parent = os.getpid()
        self._process = subprocess.Popen(
            [*self.engine.command, "--host", LOOPBACK, "--port", str(port)],
            cwd=self._folder.name,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1", "VLLM_NO_USAGE_STATS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches us only; we end the whole group
            preexec_fn=lambda: die_with_parent(signal.SIGTERM, parent),
        )
        self._reader = threading.Thread(target=self._keep_last_lines, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # workers that outlived the server, or the server itself
            self._process.wait()
            self._reader.join(GRACE_SECONDS)
            self._folder.cleanup()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_until_ready(self, timeout: float) -> None:
        """
        Raises:
            InputError: the server ended, or didn't answer within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        with httpx.Client(base_url=self.url, trust_env=False) as client:
            while not _answers(client):
                self.check()
                if time.monotonic() > deadline:
                    raise InputError(f"{self.engine.name} did not answer within {timeout:g} s; see --start-timeout")
                time.sleep(POLL_SECONDS)

    def check(self) -> None:
        """
        Raises:
            InputError: the server has ended.
        """
        if not self.is_running:
            self._reader.join(GRACE_SECONDS)
            raise InputError(
                f"{self.engine.name} ended with exit code {self._process.returncode}; its last lines:\n"
                + "".join(self._last_lines)
            )

    def _keep_last_lines(self) -> None:
        with self._process.stdout as lines:
            self._last_lines.extend(lines)


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]
