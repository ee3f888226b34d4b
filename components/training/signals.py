"""SIGTERM, or the end of the time given, as a polite request: finish the iteration, save, leave."""

from __future__ import annotations

import math
import signal
import time
from typing import Any


class StopRequest:
    """Remembers whether this process was told to stop, and when its time is over."""

    def __init__(self) -> None:
        self.is_signalled = False
        self._begun, self._deadline = time.monotonic(), math.inf

    @property
    def is_expired(self) -> bool:
        return time.monotonic() > self._deadline

    def listen(self) -> None:
        """From now on SIGTERM only sets the flag."""
        signal.signal(signal.SIGTERM, self._remember)

    def expire_after(self, minutes: float) -> None:
        """Count the time as over so long after this object was made."""
        self._deadline = self._begun + 60 * minutes

    def _remember(self, _number: int, _frame: Any) -> None:
        self.is_signalled = True
