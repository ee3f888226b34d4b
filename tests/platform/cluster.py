"""A stateful stand-in for a Kubernetes API server: the paths that the launcher uses, and what may go wrong with them.

A test plays operator, scheduler and kubelet: it gives a job pods, lets them run, write and end. The server keeps
versions and streams watches and logs as the real one does: changes in order, times to the nanosecond, connections that
break off in the middle of a line, versions that expire.
"""

from __future__ import annotations

import copy
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

from tests.loopback import JsonAnswers

NAMESPACE = "meditron"
NANOSECONDS = 10**9
START = 1767225600 * NANOSECONDS  # 2026-01-01T00:00:00Z, when the first line is written
DEADLINE_SECONDS = 30


@dataclass
class Log:
    """What a pod has written: (nanoseconds since the epoch, text with its line end, if it has come)."""

    lines: list[tuple[int, str]] = field(default_factory=list)
    has_ended: bool = False


@dataclass(frozen=True)
class Change:
    version: int
    type: str
    plural: str
    object: dict[str, Any]


class Cluster(ThreadingHTTPServer):
    """Jobs by plural and name; their pods are in `objects["pods"]`. All times are simulated.

    Attributes:
        requests: "METHOD path?query" of all, as they came.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, dict[str, dict[str, Any]]] = {"pytorchjobs": {}, "trainjobs": {}, "pods": {}}
        self.events: list[dict[str, Any]] = []
        self.logs: dict[str, Log] = {}
        self.requests: list[str] = []
        self.changed = threading.Condition(threading.RLock())
        self._changes: list[Change] = []
        self._version = itertools.count(1)
        self._oldest = 0
        self._faults: list[tuple[str, str, int]] = []
        self._streams: set[socket.socket] = set()
        self._breaks: list[tuple[str, int]] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.break_streams()
        self.server_close()

    # What goes wrong

    def fail(self, method: str, path: str, *statuses: int) -> None:
        """Answer the next requests whose path contains `path` with these statuses; 0 closes the connection."""
        self._faults += [(method, path, status) for status in statuses]

    def break_off(self, path: str, after: int) -> None:
        """Break the next stream whose path contains `path` after so many bytes."""
        self._breaks.append((path, after))

    def break_streams(self) -> None:
        """Break all open watches and logs."""
        with self.changed:
            for stream in list(self._streams):
                with suppress(OSError):
                    stream.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """No longer know what changed until now, so that watches from before are answered 410 Gone."""
        with self.changed:
            self._oldest = next(self._version)

    # What the test sees

    def count(self, method: str) -> int:
        return sum(request.startswith(method) for request in self.requests)

    def asked(self, path: str) -> int:
        return sum(path in request for request in self.requests)

    def job(self, plural: str = "pytorchjobs", index: int = 0) -> Job:
        """The job that was submitted, when it has been."""
        self.until(lambda: len(self.objects[plural]) > index)
        return Job(self, plural, list(self.objects[plural])[index])

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.005)

    # State

    def put(self, plural: str, item: dict[str, Any]) -> None:
        with self.changed:
            name = item["metadata"]["name"]
            self._note("MODIFIED" if name in self.objects[plural] else "ADDED", plural, item)
            self.objects[plural][name] = item

    def create(self, plural: str, body: dict[str, Any]) -> None:
        number = next(self._version)
        created = datetime.fromtimestamp(START // NANOSECONDS + number, UTC).isoformat().replace("+00:00", "Z")
        self.put(plural, body | {"metadata": body["metadata"] | {"uid": f"uid-{number}", "creationTimestamp": created}})

    def remove(self, plural: str, name: str) -> bool:
        with self.changed:
            item = self.objects[plural].pop(name, None)
            if item is None:
                return False
            self._note("DELETED", plural, item)
            if plural != "pods":
                for pod in [pod for pod in self.objects["pods"].values() if pod["metadata"]["job"] == name]:
                    self.remove("pods", pod["metadata"]["name"])
            else:
                self.logs[name].has_ended = True
            return True

    def _note(self, kind: str, plural: str, item: dict[str, Any]) -> None:
        version = next(self._version)
        item["metadata"]["resourceVersion"] = str(version)
        self._changes.append(Change(version, kind, plural, copy.deepcopy(item)))
        self.changed.notify_all()

    def listed(self, plural: str, query: dict[str, str]) -> dict[str, Any]:
        with self.changed:
            items = [item for item in self.objects[plural].values() if _is_selected(item, query)]
            metadata = {"resourceVersion": str(next(self._version))}
            return {"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": copy.deepcopy(items)}

    def watched(self, plural: str, query: dict[str, str]) -> Iterator[str]:
        version = int(query["resourceVersion"])
        if version < self._oldest:
            status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            yield json.dumps({"type": "ERROR", "object": status}) + "\n"
            return
        bookmark = {"kind": "Bookmark", "metadata": {"resourceVersion": str(version)}}
        yield json.dumps({"type": "BOOKMARK", "object": bookmark}) + "\n"
        position = 0
        while True:
            with self.changed:
                while position == len(self._changes):
                    self.changed.wait()
                change = self._changes[position]
                position += 1
            if change.version > version and change.plural == plural and _is_selected(change.object, query):
                yield json.dumps({"type": change.type, "object": change.object}) + "\n"

    def followed(self, log: Log, query: dict[str, str]) -> Iterator[str]:
        """Lines of a log from `sinceTime` on, which counts whole seconds, or the last `tailLines`."""
        position = 0
        if "sinceTime" in query:
            since = int(datetime.fromisoformat(query["sinceTime"]).timestamp()) * NANOSECONDS
            position = sum(when < since for when, _ in log.lines)
        elif "tailLines" in query:
            position = max(0, len(log.lines) - int(query["tailLines"]))
        while True:
            with self.changed:
                while position == len(log.lines) and not log.has_ended and "follow" in query:
                    self.changed.wait()
                if position == len(log.lines):
                    return
                when, text = log.lines[position]
                position += 1
            yield f"{_nanosecond_time(when)} {text}" if "timestamps" in query else text

    def fault(self, method: str, path: str) -> int | None:
        for entry in self._faults:
            if entry[0] == method and entry[1] in path:
                self._faults.remove(entry)
                return entry[2]
        return None

    def break_of(self, path: str) -> int | None:
        for entry in self._breaks:
            if entry[0] in path:
                self._breaks.remove(entry)
                return entry[1]
        return None


class Job:
    """What operator, scheduler and kubelet do with a job; nodes are numbered from 0, the master."""

    def __init__(self, cluster: Cluster, plural: str, name: str) -> None:
        self.cluster, self.plural, self.name = cluster, plural, name
        self._now = START

    @property
    def body(self) -> dict[str, Any]:
        return self.cluster.objects[self.plural][self.name]

    def pods(self, *phases: str, **status: Any) -> None:
        """Let there be pods in these phases, the master's first; `status` is part of the status of all."""
        for node, phase in enumerate(phases):
            self.pod(node, phase, **status)

    def pod(self, node: int, phase: str, **status: Any) -> None:
        name = self.pod_name(node)
        pod = copy.deepcopy(self.cluster.objects["pods"].get(name))
        if pod is None:
            pod = {"metadata": {"name": name, "job": self.name, "labels": self._labels(node)}, "spec": {}}
            self.cluster.logs[name] = Log()
            self.cluster.create("pods", pod | {"status": {"phase": phase} | status})
        else:
            self.cluster.put("pods", pod | {"status": {"phase": phase} | status})

    def run(self, nodes: int = 2) -> None:
        self.pods(*["Running"] * nodes)

    def lose(self, node: int) -> None:
        """The operator removes a pod, to make another."""
        self.cluster.remove("pods", self.pod_name(node))

    def write(self, node: int, *lines: str, seconds: float = 1, end: str = "\n") -> None:
        """Lines of a pod's log, each `seconds` after the one before."""
        with self.cluster.changed:
            for line in lines:
                self._now += round(seconds * NANOSECONDS)
                self.cluster.logs[self.pod_name(node)].lines.append((self._now, line + end))
            self.cluster.changed.notify_all()

    def end_pod(
        self, node: int, exit_code: int, reason: str = "", seconds: int = 0, message: str = "", **status: Any
    ) -> None:
        """End a pod's container, `seconds` after the start."""
        ended = {
            "exitCode": exit_code,
            "reason": reason or ("Error" if exit_code else "Completed"),
            "finishedAt": _time(START + seconds * NANOSECONDS),
            "message": message,
        }
        containers = [{"name": self._container, "state": {"terminated": ended}}]
        self.cluster.logs[self.pod_name(node)].has_ended = True
        self.pod(node, "Failed" if exit_code else "Succeeded", containerStatuses=containers, **status)

    def become(self, condition: str, reason: str = "", message: str = "") -> None:
        """Add a condition to the job."""
        job = copy.deepcopy(self.body)
        conditions = job.setdefault("status", {}).setdefault("conditions", [])
        conditions.append({"type": condition, "status": "True", "reason": reason, "message": message})
        self.cluster.put(self.plural, job)

    def succeed(self) -> None:
        """The master has succeeded; the operator removes what still runs."""
        self.end_pod(0, 0)
        self.become("Succeeded" if self.plural == "pytorchjobs" else "Complete")
        for name, pod in list(self.cluster.objects["pods"].items()):
            if pod["metadata"]["job"] == self.name and pod["status"]["phase"] == "Running":
                self.cluster.remove("pods", name)

    def event(self, reason: str, message: str, about: str = "") -> None:
        self.cluster.events.append(
            {"involvedObject": {"name": about or self.name}, "reason": reason, "message": message}
        )

    def pod_name(self, node: int) -> str:
        if self.plural == "trainjobs":
            return f"{self.name}-node-0-{node}-abcde"
        return f"{self.name}-master-0" if node == 0 else f"{self.name}-worker-{node - 1}"

    @property
    def _container(self) -> str:
        return "pytorch" if self.plural == "pytorchjobs" else "node"

    def _labels(self, node: int) -> dict[str, str]:
        if self.plural == "trainjobs":
            return {
                "jobset.sigs.k8s.io/jobset-name": self.name,
                "batch.kubernetes.io/job-completion-index": str(node),
            }
        return {
            "training.kubeflow.org/job-name": self.name,
            "training.kubeflow.org/replica-type": "master" if node == 0 else "worker",
            "training.kubeflow.org/replica-index": str(max(0, node - 1)),
        }


def _time(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // NANOSECONDS, UTC).isoformat().replace("+00:00", "Z")


def _nanosecond_time(nanoseconds: int) -> str:
    return _time(nanoseconds).replace("Z", f".{nanoseconds % NANOSECONDS:09}Z")


def _is_selected(item: dict[str, Any], query: dict[str, str]) -> bool:
    labels, fields = item["metadata"].get("labels", {}), {"metadata.name": item["metadata"]["name"]}
    for values, selector in ((labels, query.get("labelSelector")), (fields, query.get("fieldSelector"))):
        for requirement in selector.split(",") if selector else ():
            key, equals, value = requirement.partition("=")
            if key not in values or (equals and values[key] != value):
                return False
    return True


class _Handler(JsonAnswers, BaseHTTPRequestHandler):
    server: Cluster
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        with suppress(ConnectionError):
            super().handle_one_request()

    def do_POST(self) -> None:
        plural, _ = self._begin()
        if plural is None:
            return
        body = self._read()
        if body["metadata"]["name"] in self.server.objects[plural]:
            self._answer(409, _status(409, "already exists"))
        else:
            self.server.create(plural, body)
            self._answer(201, body)

    def do_GET(self) -> None:
        plural, name = self._begin()
        if plural is None:
            return
        query = self._query()
        if self.path.partition("?")[0].endswith("/log"):
            self._log(self.path.partition("?")[0].split("/")[-2], query)
        elif plural == "events":
            about = query["fieldSelector"].removeprefix("involvedObject.name=")
            items = [event for event in self.server.events if event["involvedObject"]["name"] == about]
            self._answer(200, {"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": items})
        elif name:
            item = self.server.objects[plural].get(name)
            self._answer(200, item) if item else self._answer(404, _status(404, "not found"))
        elif "watch" in query:
            self._stream(self.server.watched(plural, query))
        else:
            self._answer(200, self.server.listed(plural, query))

    def do_DELETE(self) -> None:
        plural, name = self._begin()
        if plural is None:
            return
        self._read()
        known = self.server.remove(plural, name)
        self._answer(200, _status(200, "")) if known else self._answer(404, _status(404, "not found"))

    def do_PATCH(self) -> None:
        plural, name = self._begin()
        if plural is None:
            return
        assert self.headers["Content-Type"] == "application/merge-patch+json"
        item = copy.deepcopy(self.server.objects[plural][name])
        item["metadata"] |= self._read()["metadata"]
        self.server.put(plural, item)
        self._answer(200, item)

    def _begin(self) -> tuple[str | None, str]:
        """(plural, name) that the path is about; no plural when the request has been answered with a fault."""
        self.server.requests.append(f"{self.command} {self.path}")
        fault = self.server.fault(self.command, self.path)
        if fault is not None:
            if fault:
                self._read()
                self._answer(fault, _status(fault, "spoilt"))
            self.close_connection = True
            return None, ""
        parts = self.path.partition("?")[0].split(f"/namespaces/{NAMESPACE}/")[1].split("/")
        return parts[0], parts[1] if len(parts) > 1 else ""

    def _query(self) -> dict[str, str]:
        return {key: values[-1] for key, values in parse_qs(urlparse(self.path).query).items()}

    def _log(self, pod: str, query: dict[str, str]) -> None:
        status = self.server.objects["pods"].get(pod, {}).get("status")
        if status is None:
            self._answer(404, _status(404, "not found"))
        elif status["phase"] == "Pending":
            self._answer(400, _status(400, f"container in pod {pod} is waiting to start"))
        else:
            self._stream(self.server.followed(self.server.logs[pod], query))

    def _stream(self, lines: Iterator[str]) -> None:
        """In chunks, until there is no more or the connection is broken."""
        left = self.server.break_of(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.server._streams.add(self.connection)
        try:
            for line in lines:
                content = line.encode()
                if left is not None:
                    content, left = content[:left], left - len(content)
                if content:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
                if left is not None and left <= 0:
                    self.close_connection = True
                    return
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True
        finally:
            self.server._streams.discard(self.connection)


def _status(code: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "code": code, "message": message}
