"""What clients see: the chat page, and OpenAI's chat API, passed on to the server that holds the model."""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from components.platform.advisory import ADVISORY
from components.platform.errors import InputError
from components.serving.server.backend import Backend
from components.serving.server.request import MODEL_NAME, RequestReader

PAGE = Path(__file__).parent / "page"
MAX_REQUEST_BYTES = 16 << 20  # far more text than any model has context for
LOOPBACK_HOSTS = ["127.0.0.1", "localhost", "[::1]", "::1"]

# The page needs nothing but itself, and could not run a script that a model wrote.
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def connect(backend: Backend) -> httpx.AsyncClient:
    """A client for the backend's own address; answers may take any time."""
    return httpx.AsyncClient(base_url=backend.url, trust_env=False, timeout=httpx.Timeout(None, connect=10))


def build(backend: Backend, client: httpx.AsyncClient, api_key: str | None) -> Starlette:
    """The application.

    Args:
        backend: holds the model.
        client: reaches it; when it is closed, answers that are being written end with an error.
        api_key: what clients must send as bearer token. None: they need none, but must ask for a loopback host, so
            that no other site in a browser on this machine can reach the model under a name of its own.
    """
    reader = RequestReader(backend.model)

    async def chat_completions(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return _error(415, "expected Content-Type: application/json")  # what other sites' forms can't send
        try:
            body = backend.engine.adapt(reader.read(await _body_of(request)), backend.model)
        except InputError as error:
            return _error(400, str(error))
        try:
            answer = await client.send(client.build_request("POST", request.url.path, json=body), stream=True)
        except httpx.TransportError:
            return _error(502, f"{backend.engine.name} doesn't answer")
        headers = {"Content-Type": answer.headers.get("content-type", "text/plain"), "Cache-Control": "no-cache"}
        return StreamingResponse(_parts(answer), answer.status_code, headers)

    async def models(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": MODEL_NAME, "object": "model", "owned_by": "meditron"}]})

    async def page(_: Request) -> Response:
        template = Environment(loader=FileSystemLoader(PAGE), autoescape=True).get_template("index.html.jinja")
        return HTMLResponse(template.render(advisory=ADVISORY, model=MODEL_NAME), headers=PAGE_HEADERS)

    def guarded(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        expected = f"Bearer {api_key}".encode()

        async def checked(request: Request) -> Response:
            if api_key is None or hmac.compare_digest(request.headers.get("authorization", "").encode(), expected):
                return await endpoint(request)
            return _error(401, "the API key is missing or wrong", {"WWW-Authenticate": "Bearer"})

        return checked

    return Starlette(
        routes=[
            Route("/", page),
            Route("/v1/models", guarded(models)),
            Route("/v1/chat/completions", guarded(chat_completions), methods=["POST"]),
            Mount("/static", StaticFiles(directory=PAGE / "static")),
        ],
        middleware=[] if api_key else [Middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK_HOSTS)],
    )


async def _body_of(request: Request) -> bytes:
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MAX_REQUEST_BYTES:
            raise InputError(f"a request has at most {MAX_REQUEST_BYTES:,} bytes")
    return bytes(content)


async def _parts(answer: httpx.Response) -> AsyncIterator[bytes]:
    """What comes, as it comes; when our client goes, so do we, and the model stops."""
    try:
        async for part in answer.aiter_raw():
            yield part
    except httpx.TransportError:
        yield f"data: {json.dumps(_body('the server ended before the answer did'))}\n\n".encode()
    finally:
        await answer.aclose()


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error as OpenAI's clients read it."""
    return JSONResponse(_body(message), status, headers)


def _body(message: str) -> dict[str, dict[str, str]]:
    return {"error": {"message": message, "type": "invalid_request_error"}}
