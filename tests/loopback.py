"""What the stand-ins of servers have in common: answers in JSON, and a kubeconfig that leads to one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class JsonAnswers:
    """Makes a BaseHTTPRequestHandler read and answer JSON, and log nothing."""

    def _read(self) -> Any:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return json.loads(content) if content else None

    def _answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def write_kubeconfig(path: Path, port: int) -> None:
    """One cluster, which asks for no credentials."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "users": [{"name": "test", "user": {}}],
    }
    path.write_text(json.dumps(config))
