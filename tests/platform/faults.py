"""An HTTP proxy that passes requests on to a server, but for those it was told to spoil."""

import http.client
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ECHO = (
    "<Error><Code>{code}</Code><Message>Request of {secret} failed</Message>"
    "<AWSAccessKeyId>{secret}</AWSAccessKeyId><RequestId>1</RequestId></Error>"
)


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request.

    Attributes:
        status: HTTP status that is answered instead, with S3's error `code` and the credentials in its message.
        reset: connection is reset before anything is answered; of the request, `reset` bytes of body are read.
        cut: connection is closed after this many bytes of the answer's body.
        abruptly: that by a reset, which may take back bytes that are on their way.
        shortened: the answer is whole, but has this many bytes less than it should.
        flipped: this byte of the answer's body has all its bits flipped.
        wait: seconds before the answer begins.
    """

    status: int | None = None
    code: str = "InternalError"
    reset: int | None = None
    cut: int | None = None
    abruptly: bool = False
    shortened: int = 0
    flipped: int | None = None
    wait: float = 0


class FaultyProxy:
    """Attributes: `requests` are (method, path, Range header), in the order they came; `most_at_once`: of those."""

    def __init__(self, upstream: str, secret: str) -> None:
        self.upstream = upstream.removeprefix("http://")
        self.secret = secret
        self.requests: list[tuple[str, str, str | None]] = []
        self.most_at_once = 0
        self._faults: dict[str, deque[Fault]] = {}
        self._always: dict[str, Fault] = {}
        self._open: set[socket.socket] = set()
        self._under_way = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self._server.server_address)

    def spoil(self, method: str, *faults: Fault) -> None:
        """Spoil the next requests of a method, one fault each."""
        self._faults[method] = deque(faults)

    def spoil_all(self, method: str, fault: Fault) -> None:
        self._always[method] = fault

    def heal(self) -> None:
        self._faults, self._always, self.requests, self.most_at_once = {}, {}, [], 0

    def unused(self) -> int:
        return sum(map(len, self._faults.values()))

    def sent(self, method: str) -> list[tuple[str, str, str | None]]:
        return [request for request in self.requests if request[0] == method]

    def next_fault(self, method: str, path: str, byte_range: str | None) -> Fault:
        with self._lock:
            self.requests.append((method, path, byte_range))
            faults = self._faults.get(method)
            return faults.popleft() if faults else self._always.get(method, Fault())

    @contextmanager
    def counted(self, connection: socket.socket) -> Iterator[None]:
        """Around a request on a connection."""
        with self._lock:
            self._open.add(connection)
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in self._open:
            with suppress(OSError):  # closed already
                connection.shutdown(socket.SHUT_RDWR)


def _handler(proxy: FaultyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionError:  # the client gave up, as it does after a timeout
                self.close_connection = True

        def _counted(self) -> None:
            with proxy.counted(self.connection):
                self._pass_on()

        def _pass_on(self) -> None:
            fault = proxy.next_fault(self.command, self.path, self.headers.get("Range"))
            length = int(self.headers.get("Content-Length", 0))
            if fault.reset is not None:
                self.rfile.read(min(fault.reset, length))
                self._reset()
                return
            body = self.rfile.read(length)
            time.sleep(fault.wait)
            if fault.status:
                content = ECHO.format(code=fault.code, secret=proxy.secret).encode()
                self._answer(fault.status, [("Content-Type", "application/xml")], content)
                return
            connection = http.client.HTTPConnection(proxy.upstream, timeout=60)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            content = content[: len(content) - fault.shortened]
            if fault.flipped is not None:
                content = (
                    content[: fault.flipped] + bytes([~content[fault.flipped] & 255]) + content[fault.flipped + 1 :]
                )
            self._answer(answer.status, answer.getheaders(), content, fault.cut, fault.abruptly)

        def _answer(
            self,
            status: int,
            headers: list[tuple[str, str]],
            content: bytes,
            cut: int | None = None,
            abruptly: bool = False,
        ) -> None:
            self.send_response_only(status)
            length = str(len(content))
            for name, value in headers:
                if name.lower() == "content-length":
                    length = value if self.command == "HEAD" else length
                elif name.lower() not in ("connection", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(content[:cut])
            if abruptly:
                self._reset()
            elif cut is not None:
                self.close_connection = True

        def _reset(self) -> None:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "PUT", "POST", "HEAD", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._counted)
    return Handler
