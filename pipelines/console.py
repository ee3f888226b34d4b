"""A quiet console for kfp.local: the steps' own lines, without the executor's dumps around them."""

from __future__ import annotations

import io
import re
import threading
from typing import TextIO

_KFP_LOG = re.compile(r"\d\d:\d\d:\d\d\.\d{3} - (INFO|WARNING|ERROR) - ")
_COLOUR = re.compile(r"\x1b\[\d+m")
_EXECUTOR, _RULE = "[KFP Executor", "-----"
_NOISE = (_RULE, "Found image ")
_LOG_NOISE = ("Streamed logs", "Running pipeline", "Pipeline")


class QuietConsole(io.TextIOBase):
    """A text stream that passes on what a person wants to see of a kfp.local run.

    kfp.local prints each step's input as JSON and its outputs as Python; both are dropped, and so is the indentation
    of the steps' lines. Its own log lines about steps stay; their colours only where there is a terminal.
    """

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self._here = _Place()

    def write(self, text: str) -> int:
        *lines, self._here.line = (self._here.line + text).split("\n")
        for line in map(self._plain, lines):
            if self._here.is_wanted(line):
                indentation = len(line) - len(line.lstrip(" "))
                self._target.write(line[min(indentation, self._here.indentation) :] + "\n")
        self._target.flush()
        return len(text)

    def _plain(self, line: str) -> str:
        return line if self._target.isatty() else _COLOUR.sub("", line)


class _Place(threading.local):
    """What is being printed: by each thread, for kfp.local runs tasks that go side by side in threads.

    Attributes:
        line: the beginning of a line.
        indentation: spaces that kfp.local puts before a step's lines; more where several steps run.
    """

    def __init__(self) -> None:
        self.line, self.indentation = "", 4
        self._is_input, self._depth = False, 0
        self._is_outputs = False

    def is_wanted(self, line: str) -> bool:
        message = line.strip()
        if self._is_input:  # indented JSON: what opens is at the end of a line, what closes at its beginning
            self._depth += message.endswith(("{", "[")) - message.startswith(("}", "]"))
            self._is_input = self._depth > 0
            return False
        if self._is_outputs:
            self._is_outputs = not message.startswith(_RULE)
            return False
        if message.startswith(_EXECUTOR):
            self.indentation = line.index(_EXECUTOR)
            self._is_input = message.endswith("Got executor_input:")
            return False
        if log := _KFP_LOG.match(message):
            self._is_outputs = message.endswith(" outputs:")
            return not self._is_outputs and not message[log.end() :].startswith(_LOG_NOISE)
        return bool(message) and not message.startswith(_NOISE)
