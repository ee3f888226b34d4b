"""Silence where libraries draw progress bars that nobody asked for."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr


@contextmanager
def stderr_only_on_failure() -> Iterator[None]:
    """Hold back what is written to stderr; show it when something goes wrong."""
    held = io.StringIO()
    try:
        with redirect_stderr(held):
            yield
    except BaseException:
        sys.stderr.write(held.getvalue())
        raise
