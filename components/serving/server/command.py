"""`meditron serve --model DIR`: an OpenAI-compatible server and a chat page."""

from __future__ import annotations

import argparse
import importlib.util
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from components.platform.advisory import ADVISORY
from components.platform.errors import InputError
from components.serving.folder import ModelFolder, find_model

KEY_VARIABLE = "MEDITRON_API_KEY"
_NEEDED = ("fastapi", "httpx", "openai", "starlette", "uvicorn")


def main(argv: Sequence[str] | None = None) -> None:
    """Serve as the command line says, until Ctrl-C, SIGTERM or the end of the process that holds the model.

    The API key comes from the environment alone: other users of the machine can read command lines.

    Raises:
        InputError: the model can't be used or loaded, the address can't be had, or it needs an API key.
    """
    parser = argparse.ArgumentParser(
        prog="meditron serve",
        description="Serve an exported model with OpenAI's API and a chat page.",
        epilog=f"Clients must send the key in ${KEY_VARIABLE}, if it is set, as a bearer token.",
    )
    parser.add_argument("--model", type=Path, required=True, help="artifact of sft or awq, or its model/ folder")
    parser.add_argument("--host", default="127.0.0.1", help=f"others than this machine's own need ${KEY_VARIABLE}")
    parser.add_argument("--port", type=int, default=8000, help="0: one that is free (default 8000)")
    parser.add_argument(
        "--start-timeout", type=float, default=1800, metavar="SECONDS", help="for loading the model (default 1800)"
    )
    arguments = parser.parse_args(argv)
    model = find_model(arguments.model)
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise InputError(f"{', '.join(missing)} missing; install meditron-pipelines[serve]")
    api_key = os.environ.get(KEY_VARIABLE) or None
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # both ends are one
    with _bind(arguments.host, arguments.port, api_key) as address:  # before a model is loaded
        try:
            _serve(model, address, api_key, arguments.start_timeout)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)


def _serve(model: ModelFolder, address: socket.socket, api_key: str | None, start_timeout: float) -> None:
    # Imported when all that can be wrong without them is right: choosing may import torch.
    from components.serving.server.backend import Backend, choose_engine
    from components.serving.server.front import Front

    with Backend(choose_engine(), model) as backend:
        print(f"Loading {model.path} with {backend.engine.name}", flush=True)
        backend.wait_until_ready(start_timeout)
        host, port = address.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        print(f"Chat page: {url}/\nOpenAI's API: {url}/v1\nCtrl-C ends. {ADVISORY}", flush=True)
        Front(backend, api_key).run(sockets=[address])
        backend.check()


def _bind(host: str, port: int, api_key: str | None) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        if api_key is None and not ipaddress.ip_address(address[0]).is_loopback:
            raise InputError(f"--host {host} lets other machines in: set ${KEY_VARIABLE} to a key that they must send")
        bound = socket.socket(family)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, OverflowError) as error:
        raise InputError(f"{host}, port {port}: {error}; choose another --host or --port") from None
    return bound
