"""A small stand-in for a Kubernetes API server: what preflight asks of one."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

from tests.loopback import JsonAnswers

PRODUCT = "nvidia.com/gpu.product"


class KubernetesFake(ThreadingHTTPServer):
    """An empty cluster; tests put things into it.

    Attributes:
        objects: by path, such as "/api/v1/namespaces/meditron/secrets/x".
        denied: permissions that reviews refuse, as (user or None for ourselves, verb).
        forbidden: paths that are answered with 403.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, dict[str, Any]] = {}
        self.nodes: list[dict[str, Any]] = []
        self.pods: list[dict[str, Any]] = []
        self.kinds = ["pytorchjobs"]
        self.denied: set[tuple[str | None, str]] = set()
        self.forbidden: set[str] = set()
        self.reviews: list[dict[str, Any]] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def add(self, kind: str, namespace: str, name: str, **content: Any) -> None:
        self.objects[f"/api/v1/namespaces/{namespace}/{kind}/{name}"] = {"metadata": {"name": name}, **content}

    def add_node(self, name: str, gpus: int = 8, ready: bool = True, cordoned: bool = False, **labels: str) -> None:
        taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
        self.nodes.append(
            {
                "metadata": {"name": name, "labels": {PRODUCT: "NVIDIA-A100-SXM4-80GB"} | labels},
                "spec": {"taints": [taint], "unschedulable": cordoned},
                "status": {
                    "allocatable": {"nvidia.com/gpu": str(gpus)},
                    "conditions": [{"type": "Ready", "status": str(ready)}],
                },
            }
        )

    def add_pod(self, node: str, gpus: int, phase: str = "Running") -> None:
        resources = {"requests": {"nvidia.com/gpu": str(gpus)}}
        containers = [{"name": "a", "resources": resources}, {"name": "sidecar"}]
        self.pods.append(
            {
                "metadata": {"name": "p"},
                "spec": {"nodeName": node, "containers": containers},
                "status": {"phase": phase},
            }
        )


class _Handler(JsonAnswers, BaseHTTPRequestHandler):
    server: KubernetesFake

    def do_GET(self) -> None:
        url = urlparse(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path in self.server.forbidden:
            self._answer(403, {"reason": "Forbidden"})
        elif url.path == "/api/v1/nodes":
            self._list(self.server.nodes, query, _has_labels(query))
        elif url.path == "/api/v1/pods":
            assert query["fieldSelector"] == "status.phase!=Succeeded,status.phase!=Failed"
            self._list(self.server.pods, query, lambda pod: pod["status"]["phase"] not in ("Succeeded", "Failed"))
        elif url.path == "/apis/kubeflow.org/v1":
            resources = [
                {"name": name, "singularName": "", "kind": "", "namespaced": True, "verbs": []}
                for name in self.server.kinds
            ]
            self._answer(200, {"groupVersion": "kubeflow.org/v1", "resources": resources})
        elif url.path in self.server.objects:
            self._answer(200, self.server.objects[url.path])
        else:
            self._answer(404, {"reason": "NotFound"})

    def do_POST(self) -> None:
        body = self._read()
        if self.path in self.server.forbidden:
            self._answer(403, {"reason": "Forbidden"})
            return
        self.server.reviews.append(body)
        who = (body["spec"].get("user"), body["spec"]["resourceAttributes"]["verb"])
        self._answer(201, body | {"status": {"allowed": who not in self.server.denied}})

    def _list(self, items: list[dict[str, Any]], query: dict[str, str], wanted: Any) -> None:
        """One page of two items, so that paging is always at work."""
        found = [item for item in items if wanted(item)]
        start = int(query.get("continue", 0))
        metadata = {"continue": str(start + 2)} if start + 2 < len(found) else {}
        self._answer(200, {"metadata": metadata, "items": found[start : start + 2]})


def _has_labels(query: dict[str, str]) -> Any:
    wanted = dict(pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair)
    return lambda node: wanted.items() <= node["metadata"]["labels"].items()
