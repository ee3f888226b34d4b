"""The server: as clients see it, and as a process."""

from __future__ import annotations

import json
import signal
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil
import pytest
import torch

from components.platform.advisory import ADVISORY
from components.platform.errors import InputError
from components.serving.folder import find_model
from components.serving.server.backend import TRANSFORMERS, VLLM, Backend, Engine, choose_engine
from components.serving.server.command import main
from components.serving.server.request import for_vllm
from tests.serving.conftest import running_front, start_server
from tests.serving.test_published_way import python_blocks

CHAT = "/v1/chat/completions"


def body(question: str = "Words?", **fields: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": question}], "temperature": 0} | fields


# With transformers' server


@pytest.mark.slow
def test_documented_client(server: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    code = python_blocks()[1].replace("http://127.0.0.1:8000", server.url)
    assert server.url in code
    exec(compile(code, "using-the-model.md", "exec"), {})
    said = capsys.readouterr().out
    assert said.startswith("<u> aspirin fever patient dose")
    assert len(said.split()) > 50


@pytest.mark.slow
def test_whole_answers(server: SimpleNamespace) -> None:
    def answer(**fields: object) -> str:
        reply = httpx.post(server.url + CHAT, json=body(**fields), timeout=60).raise_for_status().json()
        return reply["choices"][0]["message"]["content"]

    assert answer(max_tokens=5) == "<u> aspirin fever"
    assert answer(max_tokens=50, stop=" dose") == "<u> aspirin fever patient dose"
    assert answer(max_tokens=5, temperature=1, top_k=1, repetition_penalty=1.1, seed=3) == "<u> aspirin fever"


@pytest.mark.slow
def test_the_model_stops_when_the_client_goes(server: SimpleNamespace) -> None:
    """The server answers one request after the other, and the first would take minutes."""
    with (
        httpx.Client(base_url=server.url, timeout=60) as client,
        client.stream("POST", CHAT, json=body(stream=True)) as reply,
    ):
        lines = reply.iter_lines()
        for _ in range(6):
            next(lines)
    assert httpx.post(server.url + CHAT, json=body(max_tokens=1), timeout=30).is_success


@pytest.mark.slow
def test_bad_requests(server: SimpleNamespace) -> None:
    reply = httpx.post(server.url + CHAT, json=body(tools=[{}]))
    assert (reply.status_code, reply.json()["error"]["message"]) == (
        400,
        "tools: not possible with transformers' server, only with vLLM",
    )
    assert httpx.post(server.url + CHAT, content="{}").status_code == 415  # another site's form
    assert httpx.get(server.url, headers={"Host": "other.example"}).status_code == 400  # its name for our address


# With vLLM


def test_vllm_is_chosen_where_it_can_run(vllm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert choose_engine() is VLLM
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert choose_engine() is TRANSFORMERS
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setenv("PATH", "/nowhere")
    assert choose_engine() is TRANSFORMERS


def test_requests_and_errors_pass_through(vllm: None, cat: Path) -> None:
    with running_front(cat, None) as running, httpx.Client(base_url=running.url) as client:
        assert client.post(CHAT, json=body(logprobs=True, max_tokens=9)).json() == body(logprobs=True, max_tokens=9)
        assert '{"content": "lo"}' in client.post(CHAT, json=body(stream=True)).text
        rejected = client.post(CHAT, json=body("reject"))
        assert (rejected.status_code, rejected.json()["error"]["message"]) == (400, "too difficult")
        assert client.post(CHAT, json=body("crash")).status_code == 500


def test_key(vllm: None, cat: Path) -> None:
    with running_front(cat, "sesame") as running, httpx.Client(base_url=running.url) as client:
        assert ADVISORY in client.get("/").text
        for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "sesame"}):
            reply = client.post(CHAT, json=body(), headers=headers)
            assert (reply.status_code, reply.json()["error"]["message"]) == (401, "the API key is missing or wrong")
            assert client.get("/v1/models", headers=headers).status_code == 401
        key = {"Authorization": "Bearer sesame"}
        assert client.post(CHAT, json=body(), headers=key).is_success
        assert client.get("/v1/models", headers=key).json()["data"][0]["id"] == "meditron"


@pytest.mark.parametrize("ended", ["server", "engine"])
def test_an_answer_ends_with_the_server(vllm: None, cat: Path, ended: str) -> None:
    """It says so, and nobody waits for a model that is gone."""
    with (
        running_front(cat, None) as running,
        httpx.Client(base_url=running.url) as client,
        client.stream("POST", CHAT, json=body("wait", stream=True)) as reply,
    ):
        events = (line for line in reply.iter_lines() if line)
        assert [json.loads(next(events)[6:])["choices"][0]["delta"] for _ in range(2)][1] == {"content": "hel"}
        if ended == "server":
            running.front.should_exit = True
        else:
            (engine,) = (child for child in psutil.Process().children() if "--served-model-name" in child.cmdline())
            engine.kill()
        assert json.loads(next(events)[6:])["error"]["message"] == "the server ended before the answer did"
        assert list(events) == []


# As a process


def engine(script: str) -> Engine:
    return Engine("the engine", (sys.executable, "-c", script), for_vllm)


def test_an_engine_that_fails_is_quoted(cat: Path) -> None:
    with (
        Backend(engine("import sys; print('no memory'); sys.exit(3)"), find_model(cat)) as backend,
        pytest.raises(InputError, match="the engine ended with exit code 3; its last lines:\nno memory"),
    ):
        backend.wait_until_ready(60)


def test_an_engine_that_never_answers(cat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended although it ignores SIGTERM."""
    monkeypatch.setattr("components.serving.server.backend.GRACE_SECONDS", 0.5)
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    with Backend(engine(stubborn), find_model(cat)) as backend:
        with pytest.raises(InputError, match="the engine did not answer within 1 s; see --start-timeout"):
            backend.wait_until_ready(1)
        assert backend.is_running
    assert not backend.is_running


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_engine_ends_with_the_server(cat: Path, tmp_path: Path, signum: signal.Signals) -> None:
    process = start_server(tmp_path, "--model", str(cat), "--port", "0")
    assert process.stdout.readline() == f"Loading {cat}/model with transformers\n"
    (child,) = psutil.Process(process.pid).children()
    process.send_signal(signum)
    output, _ = process.communicate(timeout=60)
    psutil.wait_procs([child], timeout=60)
    assert not child.is_running()
    if signum != signal.SIGKILL:
        assert (process.returncode, output) == (0, "stopped\n")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_others_need_a_key(cat: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("MEDITRON_API_KEY", "")
    with pytest.raises(InputError, match=f"--host {host} lets other machines in: set .MEDITRON_API_KEY"):
        main(["--model", str(cat), "--host", host])


def test_a_port_that_is_taken(cat: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1, port {port}: .*in use; choose another --host or --port"):
            main(["--model", str(cat), "--port", str(port)])
