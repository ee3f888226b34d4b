"""A server on loopback that speaks as much of vLLM's completions API as evaluation asks of it.

It serves a real model through transformers, one prompt at a time and without any code of the engines, so their answers
can be held against it. Field names and their meaning are those of vLLM's own CompletionRequest.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
from transformers import AutoModelForCausalLM

KNOWN = {
    "model",
    "prompt",
    "max_tokens",
    "temperature",
    "seed",
    "logprobs",
    "logprob_token_ids",
    "return_tokens_as_token_ids",
    "return_token_ids",
    "stop_token_ids",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
}


class SmallVllm:
    """Attributes: `requests` are the bodies that came; `broken`: so many next ones answer 503; `without`: a field that
    an older vLLM does not know."""

    def __init__(self, folder, served, max_model_len=256):
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.served, self.max_model_len = served, max_model_len
        self.requests, self.broken, self.without, self.key = [], 0, None, None
        self.seen = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()

    @property
    def url(self):
        return "http://{}:{}/v1".format(*self._server.server_address)

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    @torch.inference_mode()
    def complete(self, body):
        assert body.keys() <= KNOWN
        asked = [] if self.without == "logprob_token_ids" else body.get("logprob_token_ids", [])
        tokens, steps = list(body["prompt"]), []
        generator = torch.Generator().manual_seed(body.get("seed", 0))
        for _ in range(body["max_tokens"]):
            logits = self.model(torch.tensor([tokens])).logits[0, -1]
            logprobs = logits.log_softmax(-1)
            if body["temperature"] == 0:
                token = int(logits.argmax())
            else:
                chances = (logits / body["temperature"]).softmax(-1)
                token = int(torch.multinomial(chances, 1, generator=generator))
            steps.append((token, {str(each): float(logprobs[each]) for each in dict.fromkeys([token, *asked])}))
            tokens.append(token)
            if token in body.get("stop_token_ids", []):
                break
        choice = {"index": 0, "text": "", "finish_reason": "stop"}
        if body.get("return_token_ids"):
            choice["token_ids"] = [token for token, _ in steps]
        if "logprobs" in body and body["return_tokens_as_token_ids"]:
            choice["logprobs"] = {
                "tokens": [f"token_id:{token}" for token, _ in steps],
                "top_logprobs": [{f"token_id:{each}": value for each, value in step.items()} for _, step in steps],
            }
        return {"object": "text_completion", "model": self.served, "choices": [choice]}


def _handler(server):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            models = [{"id": server.served, "object": "model", "max_model_len": server.max_model_len}]
            self._answer(200, {"object": "list", "data": models})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.seen:
                server.requests.append(body)
                server.broken -= 1
                broken = server.broken >= 0
            if broken:
                self._answer(503, {"error": {"message": "starting"}})
            elif len(body["prompt"]) + body["max_tokens"] > server.max_model_len:
                message = f"This model's maximum context length is {server.max_model_len} tokens."
                self._answer(400, {"error": {"message": message, "type": "BadRequestError"}})
            else:
                self._answer(200, server.complete(body))

        def _answer(self, status, content):
            if server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
                status, content = 401, {"error": "Unauthorized"}
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    return Handler
