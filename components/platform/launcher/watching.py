"""Objects on the cluster as they are now, kept up to date by a watch."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

from components.platform.launcher.cluster import Source
from components.platform.launcher.job import LaunchError
from components.platform.launcher.streams import ExpiredError, NotThereError, Stream, UnavailableError

CATCH_UP_SECONDS = 0.05


class Watched:
    """The objects of a source, followed by a thread of its own.

    Connections may break at any time, even within a line: the watch goes on from the last change it has seen whole,
    and lists anew where the server no longer knows that one.
    """

    def __init__(self, source: Source, changed: threading.Event, retry_seconds: float) -> None:
        """Start watching; `changed` is set whenever something may have changed."""
        self._source = source
        self._changed = changed
        self._retry_seconds = retry_seconds
        self._objects: dict[str, dict[str, Any]] | None = None
        self._gone: dict[str, dict[str, Any]] = {}
        self._away_since: float | None = None
        self._refusal: LaunchError | None = None
        self._closing = threading.Event()
        self._stream: Stream | None = None
        threading.Thread(target=self._follow, daemon=True).start()

    def objects(self) -> list[dict[str, Any]] | None:
        """What is there now; None before the first answer.

        Raises:
            LaunchError: the API server refuses to tell.
        """
        if self._refusal is not None:
            raise self._refusal
        return None if self._objects is None else list(self._objects.values())

    def gone(self) -> list[dict[str, Any]]:
        """What was there, as it was last."""
        return list(self._gone.values())

    def catch_up(self, seconds: float) -> None:
        """Wait until the watch has brought what a list shows now; at most so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(UnavailableError):
                if _versions(self._source.list()[0]) == _versions(self.objects() or []):
                    return
            time.sleep(CATCH_UP_SECONDS)

    def seconds_away(self) -> float:
        """For how long the API server has not answered."""
        since = self._away_since
        return 0.0 if since is None else time.monotonic() - since

    def close(self) -> None:
        self._closing.set()
        if (stream := self._stream) is not None:
            stream.cancel()

    def _follow(self) -> None:
        version: str | None = None
        while not self._closing.is_set():
            try:
                if version is None:
                    version = self._list()
                for line in self._lines(version):
                    version = self._apply(json.loads(line), version)
            except (ExpiredError, NotThereError):
                version = None
            except (UnavailableError, ValueError) as error:  # ValueError: a proxy's idea of a line
                self._away_since = self._away_since or time.monotonic()
                self._closing.wait(max(self._retry_seconds, getattr(error, "retry_after", 0)))
            except LaunchError as refusal:
                self._refusal = refusal
                self._changed.set()
                return

    def _list(self) -> str:
        items, version = self._source.list()
        before, self._objects = self._objects or {}, {item["metadata"]["uid"]: item for item in items}
        self._gone = self._gone | {uid: item for uid, item in before.items() if uid not in self._objects}
        self._away_since = None
        self._changed.set()
        return version

    def _lines(self, version: str) -> Iterator[str]:
        with self._source.watch(version) as stream:
            self._stream = stream
            self._away_since = None
            yield from stream

    def _apply(self, event: dict[str, Any], version: str) -> str:
        """The version after an event."""
        kind, item = event["type"], event["object"]
        if kind == "ERROR":
            raise ExpiredError if item.get("code") == 410 else UnavailableError(item.get("message", "error in a watch"))
        if kind == "DELETED":
            uid = item["metadata"]["uid"]
            self._gone = self._gone | {uid: item}
            self._objects = {key: value for key, value in self._objects.items() if key != uid}
        elif kind != "BOOKMARK":
            self._objects = self._objects | {item["metadata"]["uid"]: item}
        self._changed.set()
        return item["metadata"]["resourceVersion"]


def _versions(items: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(item["metadata"]["uid"], item["metadata"]["resourceVersion"]) for item in items}
