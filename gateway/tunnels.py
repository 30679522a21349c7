"""WebSockets of the pages: after the upgrade's head, bytes pass both ways and nobody here reads them.

Not a byte of the client goes to the pages before they have said 101: on a connection that was not upgraded they
would be read as further requests, with headers that nobody has cleaned.
"""

import asyncio
import logging
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

from gateway.forwarding import forwarded_headers, target
from gateway.http_limits import BoundedHttpProtocol
from gateway.mcp.http import Receive, Scope, Send

logger = logging.getLogger(__name__)

PREFIX = b"/ws/"
EXTENSION = "gatehouse.tunnel"
TUNNELS = 256
"""At once in one process, those not yet accepted included."""
HANDSHAKE_SECONDS = 10.0
SILENCE_SECONDS = 90.0
"""The pages ping every 20 s, so silence means that one side is gone or does not read."""
FLUSH_SECONDS = 5.0
LIFE_SECONDS = 15 * 60.0
"""Then the screen connects again and is asked again who it is."""
PIECE_BYTES = 64 * 1024
SWITCHED = b"HTTP/1.1 101 "


class UpgradingHttpProtocol(BoundedHttpProtocol):
    """Hands a WebSocket upgrade under /ws/ to the application as a connection; elsewhere upgrades are ignored."""

    _tunnel: "Tunnel | None" = None

    @property
    def is_at_work(self) -> bool:
        return self._tunnel is not None or super().is_at_work

    def _should_upgrade_to_ws(self) -> bool:
        return bool(self.url.startswith(PREFIX))

    def _unsupported_upgrade_warning(self) -> None:
        """Any stranger could fill the log with it."""

    def handle_websocket_upgrade(self) -> None:
        self.connections.discard(self)
        is_answering = not getattr(self.cycle, "response_complete", True)
        if is_answering or self.scope["method"] != "GET":
            self.transport.abort()
            return
        self._tunnel = tunnel = Tunnel(self.transport, self.connections)
        task = self.loop.create_task(self.app(self._upgrade_scope(tunnel), _unused, _unused))
        tunnel.task = task
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(tunnel.close)
        task.add_done_callback(lambda _: self._kept.discard(self))

    def _upgrade_scope(self, tunnel: "Tunnel") -> MutableMapping[str, Any]:
        path, _, query = self.url.partition(b"?")
        return {
            **self.scope,
            "type": "websocket",
            "scheme": "wss" if self.scheme == "https" else "ws",
            "path": path.decode("latin-1"),
            "raw_path": path,
            "query_string": query,
            "subprotocols": [],
            "extensions": {EXTENSION: tunnel},
        }


class TunnelForwarder:
    """ASGI application for upgrades: connects the client's tunnel with the pages process."""

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tunnel: Tunnel = scope["extensions"][EXTENSION]
        self._open += 1
        try:
            async with asyncio.timeout(LIFE_SECONDS):
                if self._open > TUNNELS or not self._socket_path:
                    tunnel.refuse()
                    return
                await tunnel.run(self._socket_path, upgrade_head(scope))
        except TimeoutError:
            return
        finally:
            self._open -= 1


class Tunnel:
    """The client's side, and once it is connected the pages' side."""

    def __init__(self, transport: asyncio.Transport, connections: set[Any]) -> None:
        """Takes the transport over from uvicorn, in whose set of connections it is found for the shutdown."""
        loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader(limit=PIECE_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(self._reader, loop=loop)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        self._writer = asyncio.StreamWriter(transport, protocol, self._reader, loop)
        self._connections = connections
        self._connections.add(self)
        self.task: asyncio.Task[None] | None = None

    async def run(self, socket_path: str, head: bytes) -> None:
        """Returns when either side has closed, or was silent for too long."""
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                reader, writer = await asyncio.open_unix_connection(socket_path, limit=PIECE_BYTES)
        except OSError:
            self.refuse()
            return
        try:
            if await self._is_accepted(reader, writer, head):
                await _first_of(_pump(reader, self._writer), _pump(self._reader, writer, silence_seconds=None))
        finally:
            writer.transport.abort()

    async def _is_accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        """Tells the client what the pages say; what follows a no is theirs alone to say."""
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            writer.write(head)
            try:
                answer = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
                self.refuse()
                return False
            self._writer.write(answer)
            if answer.startswith(SWITCHED):
                return True
            await _pump(reader, self._writer)
            return False

    def refuse(self) -> None:
        self._writer.write(
            b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )

    def close(self, _: object = None) -> None:
        """When its task has ended, also one that was cancelled before it began. Closing alone would wait for ever for a
        client that does not take what is left for it."""
        self._connections.discard(self)
        self._writer.close()
        asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._writer.transport.abort)

    def shutdown(self) -> None:
        """Called by uvicorn when the process drains: the screen will connect again, to another process."""
        if self.task is not None:
            self.task.cancel()


def upgrade_head(scope: Scope) -> bytes:
    upgrade = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
    lines = [name + b": " + value for name, value in [*forwarded_headers(scope), *upgrade]]
    return b"\r\n".join([b"GET " + target(scope) + b" HTTP/1.1", *lines, b"", b""])


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, silence_seconds: float | None = SILENCE_SECONDS
) -> None:
    with suppress(OSError, TimeoutError):
        while True:
            async with asyncio.timeout(silence_seconds):
                piece = await reader.read(PIECE_BYTES)
                if not piece:
                    return
                writer.write(piece)
                await writer.drain()


async def _first_of(*ways: Any) -> None:
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _unused(*_: Any) -> None:
    """An upgrade has bytes instead of messages."""
