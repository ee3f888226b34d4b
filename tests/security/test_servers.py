"""Who reaches the servers: this machine's user, and nobody else without being let in."""

import hmac
from types import SimpleNamespace

import click
import httpx
import pytest
from starlette.testclient import TestClient

from components.platform.errors import InputError
from components.serving.folder import find_model
from components.serving.server import app, command
from components.serving.server.backend import LOOPBACK, TRANSFORMERS, VLLM

CHAT = "/v1/chat/completions"
QUESTION = {"messages": [{"role": "user", "content": "?"}]}
KEY = "a-key-that-nobody-may-see"


class Yes(httpx.AsyncByteStream):
    async def __aiter__(self):
        yield b'{"yes": true}'


@pytest.fixture
def visit(model):
    """A browser or program that asks the application for things; behind it a model that answers "yes"."""

    def make(api_key=None, base_url="http://127.0.0.1:8000"):
        backend = SimpleNamespace(model=find_model(model), engine=VLLM, url="http://127.0.0.1:1")
        answer = httpx.MockTransport(lambda _: httpx.Response(200, stream=Yes()))
        client = httpx.AsyncClient(transport=answer, base_url=backend.url)
        return TestClient(app.build(backend, client, api_key), base_url=base_url)

    return make


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000"])
def test_this_machine_is_let_in(visit, host):
    assert visit(base_url=f"http://{host}").post(CHAT, json=QUESTION).json() == {"yes": True}


@pytest.mark.parametrize("host", ["evil.example:8000", "127.0.0.1.evil.example", "localhost.example", "", "10.0.0.1"])
@pytest.mark.parametrize("path", ["/", "/v1/models", "/static/chat.js", CHAT])
def test_another_name_for_this_machine_is_not(visit, host, path):
    """A page of evil.example, whose address turns into 127.0.0.1 (DNS rebinding), asks under its own name."""
    method = "POST" if path == CHAT else "GET"
    assert visit().request(method, path, headers={"Host": host}).status_code == 400


def test_other_sites_can_neither_send_nor_read(visit):
    """What a form sends without being asked has another type; all else the browser asks for, and gets no leave."""
    origin = {"Origin": "http://evil.example"}
    for type_ in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        reply = visit().post(CHAT, content=b'{"messages": []}', headers=origin | {"Content-Type": type_})
        assert reply.status_code == 415
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    assert visit().options(CHAT, headers=origin | asked).status_code == 405
    for path in ("/", "/v1/models"):
        reply = visit().get(path, headers=origin)
        assert not [name for name in reply.headers if name.startswith("access-control")]


def test_the_key_is_compared_in_constant_time(visit, monkeypatch):
    compared = []
    compare = hmac.compare_digest
    monkeypatch.setattr(app.hmac, "compare_digest", lambda *pair: compared.append(pair) or compare(*pair))
    client = visit(KEY, base_url="http://anywhere")
    wrong = ({}, *({"Authorization": value} for value in ("", KEY, "Basic x", f"Bearer {KEY[:-1]}", f"bearer {KEY}")))
    for headers in wrong:
        for method, path in (("POST", CHAT), ("GET", "/v1/models")):
            reply = client.request(method, path, json=QUESTION, headers=headers)
            assert (reply.status_code, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert KEY not in reply.text
    assert client.post(CHAT, json=QUESTION, headers={"Authorization": f"Bearer {KEY}"}).is_success
    assert len(compared) == 2 * len(wrong) + 1


def test_the_page_holds_no_key_and_runs_nothing_of_others(visit):
    page = visit(KEY).get("/")
    assert KEY not in page.text
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]


def test_a_request_without_end(visit, monkeypatch):
    monkeypatch.setattr(app, "MAX_REQUEST_BYTES", 1000)
    sent = []

    def parts():
        for _ in range(1000):
            sent.append(1)
            yield b"x" * 100

    reply = visit().post(CHAT, content=parts(), headers={"Content-Type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["message"]) == (400, "a request has at most 1,000 bytes")


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"messages":' * 50_000, b"\xff", b"null", b"5"])
def test_a_request_that_is_none(visit, content):
    reply = visit().post(CHAT, content=content, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400


# Addresses


def test_loopback_unless_told_otherwise(model, monkeypatch):
    """And other addresses need a key, before a model is loaded."""
    monkeypatch.delenv(command.KEY_VARIABLE, raising=False)
    served = []
    monkeypatch.setattr(command, "_serve", lambda _model, address, *_: served.append(address.getsockname()[0]))
    command.main(["--model", str(model), "--port", "0"])
    assert served == ["127.0.0.1"]
    for host in ("0.0.0.0", "::"):
        with pytest.raises(InputError, match="lets other machines in: set .MEDITRON_API_KEY"):
            command.main(["--model", str(model), "--port", "0", "--host", host])
    monkeypatch.setenv(command.KEY_VARIABLE, KEY)
    command.main(["--model", str(model), "--port", "0", "--host", "0.0.0.0"])
    assert served == ["127.0.0.1", "0.0.0.0"]


def test_what_holds_the_model_is_reached_from_this_machine_only():
    assert LOOPBACK == "127.0.0.1"
    for engine in (VLLM, TRANSFORMERS):
        assert not {"--host", "--trust-remote-code", "--enable-cors"} & {*engine.command}


def test_mlflow_s_own_default_is_loopback():
    """So `mlflow ui`, as the summary of a run and the README show it, is for this machine alone."""
    from mlflow.cli import server

    [host] = [option for option in server.params if option.name == "host"]
    assert isinstance(host, click.Option)
    assert host.default in ("127.0.0.1", "localhost")
