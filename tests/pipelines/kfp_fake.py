"""A small stand-in for the HTTP API (v2beta1) of a Kubeflow Pipelines server: the paths that the verbs use.

It keeps what it is given, refuses what a real server refuses, and lets a run go on by one `Moment` each time it is
looked at.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

import yaml

from tests.loopback import JsonAnswers

API = "/apis/v2beta1"
START = datetime(2026, 1, 1, 9, 0, tzinfo=UTC)
NEVER = "1970-01-01T00:00:00Z"  # what a real server sends for what has not happened


@dataclass
class Moment:
    """What a run looks like from one look at it to the next.

    Attributes:
        state: of the run.
        nodes: (name, state, start, end) of the workflow's nodes, in seconds after the start of the run.
        errors: messages of nodes, by name.
        refuse: statuses answered to the next looks before this moment shows.
    """

    state: str = "RUNNING"
    nodes: tuple[tuple[str, str, int | None, int | None], ...] = ()
    errors: dict[str, str] = field(default_factory=dict)
    refuse: list[int] = field(default_factory=list)


class KfpFake(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, *moments: Moment, version: str = "2.17.0", multi_user: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.version, self.multi_user = version, multi_user
        self.moments = list(moments)
        self.experiments: dict[str, dict[str, Any]] = {}
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.recurring: dict[str, dict[str, Any]] = {}
        self.refuse_all: tuple[int, str] | None = None
        self.requests: list[tuple[str, str, bytes]] = []  # method, path with query, body
        self.headers: list[dict[str, str]] = []
        self._numbers = iter(range(1, 1000))
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def id(self, kind: str) -> str:
        return f"{kind}-{next(self._numbers):04}"

    def asked(self, method: str, path: str) -> int:
        """How many requests there were whose path begins so."""
        return sum(done == method and where.startswith(API + path) for done, where, _ in self.requests)

    def look(self, run: dict[str, Any]) -> tuple[int, Any]:
        if run["state"] in ("CANCELING", "CANCELED"):
            run |= {"state": "CANCELED", "finished_at": _time(3600)}
            return 200, run
        if self.moments:
            if self.moments[0].refuse:
                return self.moments[0].refuse.pop(0), {"message": "try again"}
            # The last one stays
            moment = self.moments.pop(0) if len(self.moments) > 1 else self.moments[0]
            ends = [end for *_, end in moment.nodes if end]
            over = moment.state in ("SUCCEEDED", "FAILED", "CANCELED")
            run |= {
                "state": moment.state,
                "finished_at": _time(max(ends, default=0)) if over else NEVER,
                "run_details": {"task_details": [_detail(moment, *node) for node in moment.nodes]},
            }
        return 200, run


def _detail(moment: Moment, name: str, state: str, start: int | None, end: int | None) -> dict[str, Any]:
    detail = {"task_id": name, "display_name": name, "state": state, "create_time": _time(0)}
    detail |= {"start_time": _time(start), "end_time": _time(end)}
    if name in moment.errors:
        detail["error"] = {"code": 2, "message": moment.errors[name]}
    return detail


def _time(seconds: int | None) -> str:
    return NEVER if seconds is None else (START + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


class _Handler(JsonAnswers, BaseHTTPRequestHandler):
    server: KfpFake

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def _handle(self) -> None:
        url = urlparse(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append((self.command, self.path, body))
        self.server.headers.append(dict(self.headers))
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        for method, pattern, action in ROUTES:
            match = re.fullmatch(API + pattern, url.path)
            if method == self.command and match:
                if self.server.refuse_all:
                    status, message = self.server.refuse_all
                    return self._answer(status, {"message": message})
                return self._answer(*action(self.server, query, body, *match.groups()))
        return self._answer(501, {"message": f"{self.command} {self.path} is not part of the fake"})


Answer = tuple[int, Any]
Query = dict[str, str]


def _health(server: KfpFake, query: Query, body: bytes) -> Answer:
    return 200, {
        "commit_sha": "0" * 40,
        "tag_name": server.version,
        "multi_user": server.multi_user,
        "pipeline_store": "database",
    }


def _listed(field_name: str, items: Any, query: Query, namespaced: KfpFake | None = None) -> Answer:
    """One page of two items, so that paging is always at work."""
    if namespaced and not namespaced.multi_user and query.get("namespace"):
        return 400, {"message": "In single-user mode, listing cannot filter by namespace."}
    if namespaced and namespaced.multi_user and not query.get("namespace"):
        return 400, {"message": "Namespace is empty."}
    found = list(items)
    for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
        assert predicate["operation"] == 1, "only EQUALS is part of the fake"
        found = [item for item in found if item[predicate["key"]] == predicate["stringValue"]]
    if query.get("sort_by") == "created_at desc":
        found.reverse()
    start, size = int(query.get("page_token") or 0), min(2, int(query.get("page_size") or 2))
    answer = {field_name: found[start : start + size], "total_size": len(found)}
    if start + size < len(found):
        answer["next_page_token"] = str(start + size)
    return 200, answer


def _list_experiments(server: KfpFake, query: Query, body: bytes) -> Answer:
    return _listed("experiments", server.experiments.values(), query, server)


def _create_experiment(server: KfpFake, query: Query, body: bytes) -> Answer:
    experiment = json.loads(body)
    if bool(experiment.get("namespace")) != server.multi_user:
        return 400, {"message": "a namespace is for multi-user mode, and needed there"}
    experiment["experiment_id"] = server.id("experiment")
    server.experiments[experiment["experiment_id"]] = experiment
    return 200, experiment


def _list_pipelines(server: KfpFake, query: Query, body: bytes) -> Answer:
    return _listed("pipelines", server.pipelines.values(), query)


def _create_pipeline(server: KfpFake, query: Query, body: bytes) -> Answer:
    pipeline = json.loads(body)
    if any(known["name"] == pipeline["name"] for known in server.pipelines.values()):
        return 409, {"message": f"Already exist error: The name {pipeline['name']} already exist"}
    pipeline["pipeline_id"] = server.id("pipeline")
    server.pipelines[pipeline["pipeline_id"]] = pipeline
    return 200, pipeline


def _list_versions(server: KfpFake, query: Query, body: bytes, pipeline_id: str) -> Answer:
    versions = [version for version in server.versions.values() if version["pipeline_id"] == pipeline_id]
    return _listed("pipeline_versions", versions, query)


def _get_version(server: KfpFake, query: Query, body: bytes, pipeline_id: str, version_id: str) -> Answer:
    return (200, server.versions[version_id]) if version_id in server.versions else (404, {"message": "not found"})


def _upload_version(server: KfpFake, query: Query, body: bytes) -> Answer:
    if query["pipelineid"] not in server.pipelines:
        return 404, {"message": "no such pipeline"}
    names = [known["name"] for known in server.versions.values() if known["pipeline_id"] == query["pipelineid"]]
    if query["name"] in names:
        return 409, {"message": f"Already exist error: The name {query['name']} already exist"}
    boundary, _, _ = body.partition(b"\r\n")
    [part] = [part for part in body.split(boundary) if b'name="uploadfile"' in part]
    text = part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
    pipeline, platform = yaml.safe_load_all(text)
    version = {
        "pipeline_id": query["pipelineid"],
        "pipeline_version_id": server.id("version"),
        "name": query["name"],
        "display_name": query["name"],
        "description": query.get("description", ""),
        "pipeline_spec": {"pipeline_spec": pipeline, "platform_spec": platform},
    }
    server.versions[version["pipeline_version_id"]] = version
    return 200, version


def _create_run(server: KfpFake, query: Query, body: bytes) -> Answer:
    run = json.loads(body)
    if run["pipeline_version_reference"]["pipeline_version_id"] not in server.versions:
        return 404, {"message": "no such pipeline version"}
    if run["experiment_id"] not in server.experiments:
        return 404, {"message": "no such experiment"}
    run |= {"run_id": server.id("run"), "state": "PENDING", "created_at": _time(0), "finished_at": NEVER}
    server.runs[run["run_id"]] = run
    return 200, run


def _list_runs(server: KfpFake, query: Query, body: bytes) -> Answer:
    runs = [run for run in server.runs.values() if run["experiment_id"] == query["experiment_id"]]
    return _listed("runs", runs, query)


def _get_run(server: KfpFake, query: Query, body: bytes, run_id: str) -> Answer:
    if run_id not in server.runs:
        return 404, {"message": f"Run {run_id} not found"}
    return server.look(server.runs[run_id])


def _terminate(server: KfpFake, query: Query, body: bytes, run_id: str) -> Answer:
    if run_id not in server.runs:
        return 404, {"message": f"Run {run_id} not found"}
    if server.runs[run_id]["state"] in ("SUCCEEDED", "FAILED", "CANCELED"):
        return 400, {"message": f"Failed to terminate a run {run_id}. Only running or pending runs can be terminated"}
    server.runs[run_id]["state"] = "CANCELING"
    return 200, {}


def _list_recurring(server: KfpFake, query: Query, body: bytes) -> Answer:
    found = [run for run in server.recurring.values() if run["experiment_id"] == query["experiment_id"]]
    return _listed("recurringRuns", found, query)


def _create_recurring(server: KfpFake, query: Query, body: bytes) -> Answer:
    recurring = json.loads(body)
    if len(recurring["trigger"]["cron_schedule"]["cron"].split()) != 6:
        return 400, {"message": "Schedule cron is not a supported format"}
    recurring |= {"recurring_run_id": server.id("recurring"), "status": f"{recurring['mode']}D"}
    server.recurring[recurring["recurring_run_id"]] = recurring
    return 200, recurring


def _change_recurring(server: KfpFake, query: Query, body: bytes, recurring_id: str, verb: str) -> Answer:
    server.recurring[recurring_id]["status"] = {"enable": "ENABLED", "disable": "DISABLED"}[verb]
    return 200, {}


def _delete_recurring(server: KfpFake, query: Query, body: bytes, recurring_id: str) -> Answer:
    return (200, {}) if server.recurring.pop(recurring_id, None) else (404, {"message": "not found"})


ROUTES = [
    ("GET", "/healthz", _health),
    ("GET", "/experiments", _list_experiments),
    ("POST", "/experiments", _create_experiment),
    ("GET", "/pipelines", _list_pipelines),
    ("POST", "/pipelines", _create_pipeline),
    ("GET", "/pipelines/([^/]+)/versions", _list_versions),
    ("GET", "/pipelines/([^/]+)/versions/([^/]+)", _get_version),
    ("POST", "/pipelines/upload_version", _upload_version),
    ("GET", "/runs", _list_runs),
    ("POST", "/runs", _create_run),
    ("GET", "/runs/([^/:]+)", _get_run),
    ("POST", "/runs/([^/:]+):terminate", _terminate),
    ("GET", "/recurringruns", _list_recurring),
    ("POST", "/recurringruns", _create_recurring),
    ("POST", "/recurringruns/([^/:]+):(enable|disable)", _change_recurring),
    ("DELETE", "/recurringruns/([^/:]+)", _delete_recurring),
]
