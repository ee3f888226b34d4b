"""Stands in for the `vllm` command, which needs a GPU: it checks how it is called and answers as vLLM does.

It streams "hello" to all but these questions: "reject" (an error in vLLM's form), "crash" (in plain text), "break"
(an error in the middle of the answer) and "wait" (no end). Without `stream` it says what it was sent.
"""

from __future__ import annotations

import argparse
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """Sends its answers in chunks, so that a client can tell whether it got all."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._reply(200 if self.path == "/health" else 404, "text/plain", [])

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        question = request["messages"][-1]["content"]
        if question == "reject":
            self._reply(400, "application/json", [json.dumps({"error": {"message": "too difficult", "code": 400}})])
        elif question == "crash":
            self._reply(500, "text/plain", ["Internal Server Error"])
        elif request.get("stream"):
            deltas = [{"role": "assistant"}, {"content": "hel"}, {"content": "lo"}]
            parts = [_event({"choices": [{"index": 0, "delta": delta}]}) for delta in deltas]
            if question == "break":
                parts.append(_event({"error": {"message": "out of memory"}}))
            else:
                parts.append(_event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
                parts.append(_event({"choices": [], "usage": {"total_tokens": 9}}))
            self._reply(200, "text/event-stream", [*parts, "data: [DONE]\n\n"], stuck=question == "wait")
        else:
            self._reply(200, "application/json", [json.dumps(request)])

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _reply(self, status: int, kind: str, parts: list[str], stuck: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in parts[:2] if stuck else parts:
            self._chunk(part)
        if stuck:
            time.sleep(600)
        self._chunk("")  # the end

    def _chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


def _event(data: dict) -> str:
    return f"data: {json.dumps(data)}\n\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["serve"])
    parser.add_argument("model", type=Path)
    parser.add_argument("--served-model-name", choices=["meditron"], required=True)
    parser.add_argument("--host", choices=["127.0.0.1"], required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    assert (arguments.model / "config.json").is_file()
    ThreadingHTTPServer((arguments.host, arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
