"""SIGTERM and SIGINT while a job runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals(stop: Callable[[str], None]) -> Iterator[None]:
    """Let SIGTERM and SIGINT call `stop(reason)`; only possible, and only needed, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {n: signal.signal(n, lambda n, _: stop(f"it got {signal.Signals(n).name}")) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
