"""The logs of a job's pods, passed on line by line: none twice, none lost, each with where it is from."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from datetime import UTC, datetime

from components.platform.launcher.cluster import Cluster
from components.platform.launcher.job import LaunchError
from components.platform.launcher.status import PodStatus
from components.platform.launcher.streams import NotThereError, Stream, UnavailableError

KEPT_LINES = 400  # of each pod, for the triage
FIRST_LOG_LINES = 1000  # shown of a job that was running already
NANOSECONDS = 10**9

_print = threading.Lock()


class LogPosition:
    """How far a log has been read, when it is read again and again "since" some second.

    Lines begin with their time to the nanosecond, but several may have the same, those of stdout and stderr may be out
    of order, and "since" counts whole seconds only. So all lines of the last seconds are remembered, and left out as
    often as they have been taken.
    """

    def __init__(self) -> None:
        self._last: deque[tuple[int, str]] = deque()
        self._newest = 0
        self._again: Counter[str] = Counter()

    def reopen(self) -> str | None:
        """The RFC 3339 time to read from now; None from the beginning."""
        if not self._newest:
            return None
        since = self._since()
        self._again = Counter(line for when, line in self._last if when >= since)
        return datetime.fromtimestamp(since // NANOSECONDS, UTC).isoformat().replace("+00:00", "Z")

    def take(self, line: str) -> str | None:
        """The text of a line, without its time; None if it is known."""
        if self._again[line] > 0:
            self._again[line] -= 1
            return None
        timestamp, _, text = line.partition(" ")
        try:
            when = _nanoseconds(timestamp)
        except ValueError:  # a line of the kubelet's own, such as an error
            return line
        self._newest = max(self._newest, when)
        self._last.append((when, line))
        while self._last[0][0] < self._since():
            self._last.popleft()
        return text

    def _since(self) -> int:
        return (self._newest // NANOSECONDS - 1) * NANOSECONDS


def _nanoseconds(timestamp: str) -> int:
    """Since the epoch, of a time such as 2026-01-31T12:00:00.123456789Z or …+01:00 with any number of digits."""
    seconds, _, rest = timestamp.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    whole = datetime.fromisoformat(seconds + rest[len(digits) :])
    if whole.tzinfo is None:
        raise ValueError(f"{timestamp} has no time zone")
    return round(whole.timestamp()) * NANOSECONDS + int(digits.ljust(9, "0")[:9] or 0)


class PodLog:
    """Follows the log of one pod until the pod has ended, in a thread of its own."""

    def __init__(
        self, cluster: Cluster, pod: PodStatus, container: str, retry_seconds: float, tail: int | None
    ) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._cluster, self._pod, self._container = cluster, pod, container
        self._retry_seconds = retry_seconds
        self._tail = tail
        self._position = LogPosition()
        self._pod_ended = threading.Event()
        self._closing = threading.Event()
        self._stream: Stream | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """The pod has ended or is gone: what can be read now is all there will be."""
        self._pod_ended.set()

    def wait(self, seconds: float) -> None:
        """Wait until everything is read."""
        self._thread.join(seconds)

    def close(self) -> None:
        self._closing.set()
        if (stream := self._stream) is not None:
            stream.cancel()

    def _follow(self) -> None:
        while not self._closing.is_set():
            is_last = self._pod_ended.is_set()
            try:
                rest = self._read()
            except NotThereError:  # not yet, or not any more
                rest = ""
            except (UnavailableError, LaunchError):  # without its log a job runs all the same
                self._closing.wait(self._retry_seconds)
                continue
            if is_last:
                if rest:
                    self._pass_on(rest)
                return
            self._pod_ended.wait(self._retry_seconds)

    def _read(self) -> str:
        """Read on to the end of the connection; returns what has no line end."""
        since = self._position.reopen()
        with self._cluster.open_log(
            self._pod.name, self._pod.uid, self._container, since, self._tail if since is None else None
        ) as stream:
            self._stream = stream
            for line in stream:
                self._pass_on(line)
        return stream.rest

    def _pass_on(self, line: str) -> None:
        text = self._position.take(line)
        if text is None:
            return
        self.lines.append(text)
        is_attributed = self._pod.node_rank == 0 or text.startswith("[rank ")
        with _print:
            print(text if is_attributed else f"[node {self._pod.node_rank}] {text}", flush=True)


class JobLogs:
    """The logs of all pods of a job, of those that are replaced, too."""

    def __init__(self, cluster: Cluster, container: str, retry_seconds: float, adopted: bool) -> None:
        """`adopted`: the job ran before we came, so don't begin at the beginning."""
        self._cluster, self._container, self._retry_seconds = cluster, container, retry_seconds
        self._tail = FIRST_LOG_LINES if adopted else None
        self._logs: dict[str, PodLog] = {}

    def look(self, pods: Sequence[PodStatus]) -> None:
        """Begin with the logs of pods that run now, and end with those of pods that don't any more."""
        for pod in pods:
            if pod.started and pod.uid not in self._logs:
                self._logs[pod.uid] = PodLog(self._cluster, pod, self._container, self._retry_seconds, self._tail)
        for uid in self._logs.keys() - {pod.uid for pod in pods if pod.phase == "Running"}:
            self._logs[uid].end()

    def finish(self, pods: Sequence[PodStatus], seconds: float) -> None:
        """Give the logs of pods that have ended some time to be read to their ends."""
        for pod in pods:
            if pod.started and pod.phase != "Running":
                self._logs[pod.uid].wait(seconds)

    def tail(self, pod: PodStatus) -> str:
        if pod.uid in self._logs and self._logs[pod.uid].lines:
            return "\n".join(self._logs[pod.uid].lines)
        return self._cluster.read_log(pod.name, self._container, KEPT_LINES)

    def close(self) -> None:
        for log in self._logs.values():
            log.close()
