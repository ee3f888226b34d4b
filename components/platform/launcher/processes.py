"""Making sure that no process outlives the one that started it (Linux; elsewhere these do nothing)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import threading
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(signum: signal.Signals, parent: int | None = None) -> None:
    """Have the kernel send `signum` to this process when its parent is gone.

    `parent` is the process id of the parent, where it is known: it may have died before we could ask.
    """
    if _libc is None:
        return
    _libc.prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), signum)


def die_with(process: int, signum: signal.Signals) -> None:
    """Send `signum` to this process when the process with the id `process` is gone, parent or not."""
    if _libc is None:
        return
    gone = os.pidfd_open(process)

    def wait() -> None:
        select.select([gone], [], [])
        os.kill(os.getpid(), signum)

    threading.Thread(target=wait, daemon=True).start()


def kill_marked(variable: str, value: str) -> None:
    """SIGKILL every other process of ours that was started with `variable=value` in its environment.

    torchrun starts each rank in a session of its own, so no process group holds them all; the environment does.
    """
    marker = f"{variable}={value}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            if int(entry.name) != os.getpid() and marker in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
