"""SIGTERM as a polite request: finish the iteration, save, leave."""

from __future__ import annotations

import signal
from typing import Any


class StopRequest:
    """Remembers whether this process was told to stop."""

    def __init__(self) -> None:
        self.requested = False

    def listen(self) -> None:
        """From now on SIGTERM only sets the flag."""
        signal.signal(signal.SIGTERM, self._remember)

    def _remember(self, _number: int, _frame: Any) -> None:
        self.requested = True
