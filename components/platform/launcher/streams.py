"""Answers of the Kubernetes API that go on and on, and the ways in which it doesn't answer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from urllib3 import HTTPResponse
from urllib3.exceptions import HTTPError


class UnavailableError(Exception):
    """The API server is away, or busy; `retry_after` in seconds if it says so."""

    def __init__(self, reason: str, retry_after: float = 0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class ExpiredError(Exception):
    """The API server no longer knows what has changed since then: list again."""


class ConflictError(Exception):
    """There is an object of that name."""


class NotThereError(Exception):
    """There is no such object, or its log can't be read yet."""


class Stream:
    """Lines of an answer that goes on and on. Another thread may `cancel` it.

    Attributes:
        rest: what came after the last line's end, when the stream has ended.
    """

    def __init__(self, response: HTTPResponse) -> None:
        self.rest = ""
        self._response = response

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[str]:
        """Raises UnavailableError when the connection breaks."""
        held = b""
        try:
            for chunk in self._response.stream():
                *lines, held = (held + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
        except (HTTPError, OSError) as error:
            raise UnavailableError(str(error)) from None
        self.rest = held.decode(errors="replace")

    def close(self) -> None:
        self._response.close()

    def cancel(self) -> None:
        with contextlib.suppress(ValueError, RuntimeError, OSError):  # ended already
            self._response.shutdown()
