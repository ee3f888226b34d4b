"""Processes that share out the parts of one step of work on one machine."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from components.platform.errors import UserError
from components.platform.launcher.processes import die_with_parent

Item = TypeVar("Item")
Result = TypeVar("Result")

# Libraries that start threads of their own; with a process per core those would only get in each other's way
THREAD_VARIABLES = ("POLARS_MAX_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS")

_shared: Any = None  # in a worker: what all its calls have in common


def share_out(
    function: Callable[[Any, Item], Result], shared: Any, items: Sequence[Item], workers: int
) -> Iterator[Result]:
    """`function(shared, item)` for all items, in processes of their own; results come in the order of the items.

    One worker means this very process. The first error ends the work; what others have finished by then stays
    finished, as each part is a result of its own.

    Args:
        function: found by its name, so at the top level of a module.

    Raises:
        UserError: a worker was killed from outside, most likely for want of memory.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        yield from (function(shared, item) for item in items)
        return
    # A file: what is given to a process at its start is pickled for each, and starts none before the last has read it
    with tempfile.NamedTemporaryFile(prefix="meditron-shared-") as file:
        pickle.dump(shared, file)
        file.flush()
        # "spawn": a fork would copy the locks of libraries' threads in whatever state they are
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (os.getpid(), file.name))
        try:
            with _one_thread_each():  # what `map` starts gets the environment of this moment
                results = pool.map(_call, [function] * len(items), items)
            yield from results
        except BrokenProcessPool:
            raise UserError(
                "a worker process was killed, most likely for want of memory; "
                "set fewer `workers` in the recipe's platform section, and run again: finished parts are kept"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    saved = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _begin(parent: int, shared: str) -> None:
    global _shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends the work in order
    die_with_parent(signal.SIGKILL, parent)
    _shared = pickle.loads(Path(shared).read_bytes())  # noqa: S301 - a file of our parent's own, closed to others


def _call(function: Callable[[Any, Item], Result], item: Item) -> Result:
    try:
        return function(_shared, item)
    except Exception as error:
        if _can_be_sent(error):
            raise
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


def _can_be_sent(error: Exception) -> bool:
    """Whether an error survives pickling; one that does not would look like the death of its worker."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made right here
    except Exception:
        return False
    return True
