"""The web server in front of the backend."""

from __future__ import annotations

import socket

import uvicorn

from components.serving.server.app import build, connect
from components.serving.server.backend import Backend


class Front(uvicorn.Server):
    """Serves until it is told to end or the backend ends; answers that are being written then end, too."""

    def __init__(self, backend: Backend, api_key: str | None) -> None:
        self._backend = backend
        self._client = connect(backend)
        app = build(backend, self._client, api_key)
        super().__init__(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5))

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or not self._backend.is_running

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._client.aclose()
        await super().shutdown(sockets)
