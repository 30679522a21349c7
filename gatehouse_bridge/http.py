"""HTTP to one address: connections that are kept, and requests that another thread can cut short.

Redirects are answers like any other: a key is never carried on to where somebody else points.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from gatehouse_bridge.address import Address

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 90.0
"""The gateway says something every 15 seconds while a call is under way."""
IDLE_SECONDS = 45.0
"""Under the gateway's own 75 and the usual 60 of balancers, so that we close first."""
KEPT = 8
BODY_LIMIT = 32 * 1024 * 1024
FAILURES = (OSError, HTTPException, ValueError, AttributeError)
"""The last two come from a connection that another thread has closed meanwhile."""


class NotSent(Exception):
    """There was no connection, so nothing was asked."""


class Broken(Exception):
    """The connection broke after the request may have arrived."""


class Connections:
    def __init__(self, address: Address) -> None:
        self.address = address
        self._context = ssl.create_default_context() if address.is_secure else None
        self._proxy = _proxy_of(address)
        self._idle: list[tuple[float, HTTPConnection]] = []
        self._turn = threading.Lock()

    def connect(self, seconds: float = CONNECT_SECONDS) -> HTTPConnection:
        """Raises NotSent."""
        while (kept := self._kept()) is not None:
            if _is_quiet(kept):
                return kept
            kept.close()
        connection = self._new(seconds)
        try:
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except FAILURES as error:
            connection.close()
            raise NotSent(_said(error)) from None
        return connection

    def keep(self, connection: HTTPConnection) -> None:
        with self._turn:
            if len(self._idle) < KEPT:
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()

    def close(self) -> None:
        while (connection := self._kept()) is not None:
            connection.close()

    def _kept(self) -> HTTPConnection | None:
        with self._turn:
            if not self._idle:
                return None
            since, connection = self._idle.pop()
        if time.monotonic() - since > IDLE_SECONDS:
            connection.close()
            return self._kept()
        return connection

    def _new(self, seconds: float) -> HTTPConnection:
        address = self.address
        if self._context is None:
            return HTTPConnection(address.host, address.port, timeout=seconds)
        if self._proxy is None:
            return HTTPSConnection(address.host, address.port, timeout=seconds, context=self._context)
        host, port, headers = self._proxy
        connection = HTTPSConnection(host, port, timeout=seconds, context=self._context)
        connection.set_tunnel(address.host, address.port, headers)
        return connection


class Exchange:
    """One request and its answer. `cut` may come at any time, from any thread."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._connection: HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._response: HTTPResponse | None = None
        self._turn = threading.Lock()
        self._is_cut = False
        self._body: bytes | None = None

    def send(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", silence: float = SILENCE_SECONDS
    ) -> Exchange:
        """Until the head of the answer is there. Raises NotSent or Broken."""
        connection = self._connections.connect(min(CONNECT_SECONDS, silence))
        with self._turn:
            if self._is_cut:
                connection.close()
                raise NotSent("cut short")
            self._connection, self._socket = connection, connection.sock
        try:
            self._socket.settimeout(silence)
            connection.request(method, path, body=body or None, headers=dict(headers))
            self._response = connection.getresponse()
        except FAILURES as error:
            self.close()
            raise Broken(_said(error)) from None
        return self

    @property
    def status(self) -> int:
        return self._answer.status

    def header(self, name: str) -> str:
        return (self._answer.getheader(name) or "").strip()

    @property
    def is_stream(self) -> bool:
        return self.header("content-type").partition(";")[0].strip().lower() == "text/event-stream"

    def read_line(self, limit: int) -> bytes:
        """Empty at the end. Raises Broken."""
        try:
            return self._answer.readline(limit)
        except FAILURES as error:
            raise Broken(_said(error)) from None

    def read(self, limit: int = BODY_LIMIT) -> bytes:
        """The whole body; the connection is free for the next. Raises Broken, also for a longer one."""
        if self._body is not None:
            return self._body
        try:
            body = self._answer.read(limit + 1)
        except FAILURES as error:
            raise Broken(_said(error)) from None
        if len(body) > limit:
            self.close()
            raise Broken("the answer is too large")
        self.finish()
        self._body = body
        return body

    def finish(self) -> None:
        """The answer is read as far as anybody wants it."""
        with self._turn:
            connection, response, self._connection = self._connection, self._response, None
            is_reusable = not self._is_cut and response is not None and response.isclosed()
        if connection is None:
            return
        if is_reusable and connection.sock is not None:
            self._connections.keep(connection)
        else:
            _close(connection, response)

    def cut(self) -> None:
        """Whoever reads is woken, and the gateway sees that nobody waits any more."""
        with self._turn:
            self._is_cut = True
            if self._connection is not None and self._socket is not None:
                with suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        with self._turn:
            connection, self._connection = self._connection, None
        if connection is not None:
            _close(connection, self._response)

    @property
    def _answer(self) -> HTTPResponse:
        assert self._response is not None, "nothing was sent"
        return self._response


def _close(connection: HTTPConnection, response: HTTPResponse | None) -> None:
    with suppress(*FAILURES):
        if response is not None:
            response.close()
        connection.close()


def _is_quiet(connection: HTTPConnection) -> bool:
    """What is kept has nothing to say: a word of the other side is its goodbye."""
    try:
        return connection.sock is not None and not select.select([connection.sock], [], [], 0)[0]
    except (OSError, ValueError):
        return False


def _proxy_of(address: Address) -> tuple[str, int, dict[str, str]] | None:
    """As the environment says; what is on this machine is asked directly."""
    if not address.is_secure or proxy_bypass(address.host):
        return None
    parts = urlsplit(getproxies().get("https", ""))
    if not parts.hostname:
        return None
    headers = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {b64encode(pair.encode()).decode('ascii')}"
    return parts.hostname, parts.port or 8080, headers


def _said(error: BaseException) -> str:
    """Never what was sent: the words of a library may hold a header."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
