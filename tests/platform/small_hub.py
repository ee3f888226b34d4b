"""A Hugging Face hub on loopback: as much of its HTTP API as reading a dataset takes."""

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

_NAME = r"/datasets/(?P<dataset>[^/]+/[^/]+)"
_INFO = re.compile(rf"/api{_NAME}(/revision/(?P<revision>[^/]+))?")
_TREE = re.compile(rf"/api{_NAME}/tree/(?P<revision>[^/]+)(/(?P<folder>.+))?")
_FILE = re.compile(rf"{_NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Repository:
    """Files by path of each commit; `token` is what a private one is opened with."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    token: str | None = None


class SmallHub:
    """Attributes: `requests` are (method, path), in the order they came; `broken`: so many next files answer 503."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str]] = []
        self.broken = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self._server.server_address)

    def commit(self, dataset: str, files: dict[str, bytes], revision: str = "main", token: str | None = None) -> str:
        """Put files there, as the newest commit of a revision."""
        commit = hashlib.sha1(repr(files).encode()).hexdigest()
        repository = self.repositories.setdefault(dataset, Repository(token=token))
        repository.commits[commit] = files
        repository.revisions[revision] = commit
        return commit

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(hub: SmallHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append((self.command, path))
            asked = next((match for form in (_INFO, _TREE, _FILE) if (match := form.fullmatch(path))), None)
            if asked is None:
                self._refuse(404, "Unknown")
                return
            repository = hub.repositories.get(asked["dataset"])
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if repository is None or repository.token not in (None, token):
                self._refuse(401, "RepoNotFound")
                return
            commit = asked["revision"] or "main"
            commit = repository.revisions.get(commit, commit)
            if commit not in repository.commits:
                self._refuse(404, "RevisionNotFound")
                return
            files = repository.commits[commit]
            if asked.re is _INFO:
                self._answer_json({"id": asked["dataset"], "sha": commit, "siblings": [], "tags": []})
            elif asked.re is _TREE:
                self._list(files, asked["folder"])
            elif asked["path"] not in files:
                self._refuse(404, "EntryNotFound", commit)
            elif hub.broken and self.command == "GET":
                hub.broken -= 1
                self._refuse(503, "Unavailable")
            else:
                self._give(files[asked["path"]], commit)

        def do_HEAD(self) -> None:
            self.do_GET()

        def _list(self, files: dict[str, bytes], folder: str | None) -> None:
            base = f"{folder}/" if folder else ""
            entries = [
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in files.items()
                if path.startswith(base) and ("recursive=true" in self.path or "/" not in path.removeprefix(base))
            ]
            if "recursive=true" not in self.path:
                below = {path.removeprefix(base).split("/")[0] for path in files if path.startswith(base)}
                folders = sorted(below - {entry["path"].removeprefix(base) for entry in entries})
                entries += [{"type": "directory", "path": base + name, "size": 0, "oid": name} for name in folders]
            self._answer_json(entries)

        def _give(self, content: bytes, commit: str) -> None:
            headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": commit}
            if part := _RANGE.fullmatch(self.headers.get("Range", "")):
                start, end = int(part[1]), min(int(part[2] or len(content)), len(content) - 1)
                headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
                self._answer(206, content[start : end + 1], headers)
            else:
                self._answer(200, content, headers)

        def _refuse(self, status: int, code: str, commit: str = "") -> None:
            self._answer(status, b"{}", {"X-Error-Code": code, "X-Repo-Commit": commit})

        def _answer_json(self, value: object) -> None:
            self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response_only(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
