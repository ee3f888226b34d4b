"""A quiet console for kfp.local: the steps' own lines, without the executor's dumps around them."""

from __future__ import annotations

import io
import re
from typing import TextIO

_KFP_LOG = re.compile(r"\d\d:\d\d:\d\d\.\d{3} - (INFO|WARNING|ERROR) - ")
_COLOUR = re.compile(r"\x1b\[\d+m")
_NOISE = ("[KFP Executor", "-----", "Found image ")
_LOG_NOISE = ("Streamed logs", "Running pipeline", "Pipeline")


class QuietConsole(io.TextIOBase):
    """A text stream that passes on what a person wants to see of a kfp.local run.

    kfp.local prints each step's input as JSON and its outputs as Python; both are dropped, and so is the indentation
    of the steps' lines. Its own log lines about steps stay; their colours only where there is a terminal.
    """

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self._line = ""
        self._skip_until: re.Pattern[str] | None = None

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in map(self._plain, lines):
            if self._wanted(line):
                self._target.write(line.removeprefix("    ") + "\n")
        self._target.flush()
        return len(text)

    def _plain(self, line: str) -> str:
        return line if self._target.isatty() else _COLOUR.sub("", line)

    def _wanted(self, line: str) -> bool:
        if self._skip_until:
            if self._skip_until.match(line):
                self._skip_until = None
            return False
        message = line.strip()
        if message.endswith("Got executor_input:"):
            self._skip_until = re.compile(r" {4}\}$")
        elif message.endswith(" outputs:"):
            self._skip_until = re.compile("-----")
            return False
        if log := _KFP_LOG.match(message):
            return not message[log.end() :].startswith(_LOG_NOISE)
        return bool(message) and not message.startswith(_NOISE)
