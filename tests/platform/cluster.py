"""A small stand-in for a Kubernetes API server with the training operator: the paths that the launcher uses."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

JOBS = "/apis/kubeflow.org/v1/namespaces/meditron/pytorchjobs"
PODS = "/api/v1/namespaces/meditron/pods"
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Moment:
    """What the cluster looks like from one look of the launcher at its job to the next.

    Attributes:
        condition: type of the job's true condition.
        phases: phase of each pod, the master's first.
        log: lines of the master's log so far, each written a second after the one before.
        exits: pod index → (exit code, reason, seconds after the start).
        scheduling: why the pods are not scheduled.
        errors: statuses answered to the next requests for the job before this moment shows.
    """

    condition: str = "Running"
    phases: tuple[str, ...] = ("Running", "Running")
    log: tuple[str, ...] = ()
    exits: dict[int, tuple[int, str, int]] = field(default_factory=dict)
    scheduling: str = ""
    errors: list[int] = field(default_factory=list)


class Cluster(ThreadingHTTPServer):
    """Each GET of a job moves on by one `Moment`; the last one stays."""

    daemon_threads = True

    def __init__(self, *moments: Moment) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.moments = list(moments)
        self.now = Moment("Created", ())
        self.jobs: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.patches: list[Any] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def count(self, method: str) -> int:
        return sum(request.startswith(method) for request in self.requests)

    def look(self, name: str) -> tuple[int, dict[str, Any]]:
        if name not in self.jobs:
            return 404, {}
        if self.moments and self.moments[0].errors:
            return self.moments[0].errors.pop(0), {}
        if self.moments:
            self.now = self.moments.pop(0)
        self.jobs[name].setdefault("status", {})["conditions"] = [
            {"type": "Created", "status": "True"},
            {"type": self.now.condition, "status": "True", "message": f"is {self.now.condition}"},
        ]
        return 200, self.jobs[name]

    def pods(self) -> list[dict[str, Any]]:
        return [self._pod(index, phase) for index, phase in enumerate(self.now.phases)]

    def _pod(self, index: int, phase: str) -> dict[str, Any]:
        kind, number = ("master", 0) if index == 0 else ("worker", index - 1)
        status: dict[str, Any] = {"phase": phase}
        if self.now.scheduling:
            scheduling = {"type": "PodScheduled", "status": "False", "message": self.now.scheduling}
            status["conditions"] = [scheduling]
        if index in self.now.exits:
            code, reason, seconds = self.now.exits[index]
            end = {"exitCode": code, "reason": reason, "finishedAt": _time(seconds)}
            container = {"name": "pytorch", "image": "i", "imageID": "i", "ready": False, "restartCount": 0}
            status["containerStatuses"] = [container | {"state": {"terminated": end}}]
        labels = {"training.kubeflow.org/replica-type": kind}
        return {"metadata": {"name": f"job-{kind}-{number}", "labels": labels}, "spec": None, "status": status}

    def log(self, pod: str, query: dict[str, list[str]]) -> str:
        if pod != "job-master-0":
            return f"last words of {pod}\n"
        lines = [f"{_time(i)} {line}" if "timestamps" in query else line for i, line in enumerate(self.now.log)]
        return "".join(f"{line}\n" for line in lines)


def _time(seconds: int) -> str:
    return (START + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


class _Handler(BaseHTTPRequestHandler):
    server: Cluster

    def do_POST(self) -> None:
        body = self._read()
        name = body["metadata"]["name"]
        if name in self.server.jobs:
            self._answer(409, {})
        else:
            self.server.jobs[name] = body
            self._answer(201, body)

    def do_GET(self) -> None:
        url = urlparse(self.path)
        if url.path.startswith(JOBS):
            self._answer(*self.server.look(url.path.rsplit("/", 1)[1]))
        elif url.path == PODS:
            self._answer(200, {"kind": "PodList", "apiVersion": "v1", "items": self.server.pods()})
        else:
            pod = url.path.removeprefix(PODS).split("/")[1]
            self._answer(200, self.server.log(pod, parse_qs(url.query)))

    def do_DELETE(self) -> None:
        known = self.server.jobs.pop(urlparse(self.path).path.rsplit("/", 1)[1], None)
        self._answer(200 if known else 404, {})

    def do_PATCH(self) -> None:
        self.server.patches.append((self.headers["Content-Type"], self._read()))
        self._answer(200, {})

    def _read(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, status: int, body: Any) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass
