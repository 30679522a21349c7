"""Real servers for the connector tests: ASGI applications under uvicorn, and a scripted one on a bare
socket."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvicorn

MODERN_VERSIONS = {
    "supportedVersions": ["2026-07-28"],
    "capabilities": {"tools": {}},
    "resultType": "complete",
}


@contextlib.asynccontextmanager
async def asgi_server(app: Any, *, port: int = 0) -> AsyncIterator[str]:
    """Serves the application on a loopback port; yields its origin."""
    listener = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(app, log_level="error", lifespan="auto", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await eventually(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


def legacy_only(app: Any) -> Any:
    """The application with its modern era hidden, as a server of last year would be."""

    async def hidden(scope: Any, receive: Any, send: Any) -> None:
        if (b"mcp-protocol-version", b"2026-07-28") in scope.get("headers", ()):
            await send({"type": "http.response.start", "status": 400, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await app(scope, receive, send)

    return hidden


@dataclass
class Seen:
    """One request as the scripted server read it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def message(self) -> dict[str, Any]:
        return orjson.loads(self.body) if self.body else {}


@dataclass
class Turn:
    """A request and the means to answer it, well or badly."""

    seen: Seen
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def respond(
        self, body: bytes, *, status: str = "200 OK", kind: str = "application/json", extra: str = ""
    ) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
        await self.raw(head.encode() + body)

    async def result(self, result: dict[str, Any], **options: Any) -> None:
        await self.respond(orjson.dumps({"jsonrpc": "2.0", "id": self.seen.message["id"], "result": result}), **options)

    async def error(self, code: int, *, status: str = "400 Bad Request", **data: Any) -> None:
        error = {"code": code, "message": "no", **({"data": data} if data else {})}
        await self.respond(
            orjson.dumps({"jsonrpc": "2.0", "id": self.seen.message.get("id"), "error": error}), status=status
        )

    async def stream_head(self) -> None:
        await self.raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")

    async def event(self, message: dict[str, Any]) -> None:
        event = b"data: " + orjson.dumps(message) + b"\n\n"
        await self.raw(b"%x\r\n%s\r\n" % (len(event), event))

    async def stream_end(self) -> None:
        await self.raw(b"0\r\n\r\n")

    def reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


Script = Callable[[Turn], Awaitable[None]]


@dataclass
class ScriptedServer:
    """Answers with the script registered for a JSON-RPC method, or for GET and DELETE; speaks 2026-07-28 unless told
    otherwise."""

    scripts: dict[str, Script] = field(default_factory=dict)
    requests: list[Seen] = field(default_factory=list)
    cut_connections: int = 0
    connections: int = 0
    url: str = ""

    def methods(self) -> list[str]:
        return [seen.message.get("method", "response") for seen in self.requests]

    def sent(self, method: str) -> list[Seen]:
        return [seen for seen in self.requests if seen.message.get("method") == method]

    def be_modern(
        self, *, tools: list[dict[str, Any]] | None = None, capabilities: dict[str, Any] | None = None
    ) -> None:
        async def discover(turn: Turn) -> None:
            await turn.result({**MODERN_VERSIONS, "capabilities": capabilities or {"tools": {}}})

        async def list_tools(turn: Turn) -> None:
            await turn.result({"tools": tools or [{"name": "act"}], "resultType": "complete"})

        self.scripts |= {"server/discover": discover, "tools/list": list_tools}

    def be_legacy(
        self,
        *,
        version: str = "2025-06-18",
        session_id: str | None = None,
        capabilities: dict[str, Any] | None = None,
        tools: list[dict[str, Any]] | None = None,
    ) -> None:
        async def refuse(turn: Turn) -> None:
            await turn.respond(b"Bad Request: no session", status="400 Bad Request", kind="text/plain")

        async def initialize(turn: Turn) -> None:
            extra = f"Mcp-Session-Id: {session_id}\r\n" if session_id else ""
            about = {"capabilities": capabilities or {"tools": {}}, "serverInfo": {"name": "old", "version": "1"}}
            await turn.result({"protocolVersion": version, **about}, extra=extra)

        async def list_tools(turn: Turn) -> None:
            await turn.result({"tools": tools or [{"name": "act"}]})

        self.scripts |= {"server/discover": refuse, "initialize": initialize, "tools/list": list_tools}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while True:
                turn = Turn(await self._read(reader, number), reader, writer)
                self.requests.append(turn.seen)
                await self._answer(turn)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.cut_connections += 1
        finally:
            writer.close()

    async def _answer(self, turn: Turn) -> None:
        method = turn.seen.message.get("method", "response") if turn.seen.method == "POST" else turn.seen.method
        if method in self.scripts:
            await self.scripts[method](turn)
        else:
            await turn.raw(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")

    async def _read(self, reader: asyncio.StreamReader, number: int) -> Seen:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request_line, *fields = head.strip().split("\r\n")
        method, path, _ = request_line.split(" ")
        headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in fields)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Seen(method, path, headers, body, number)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@contextlib.asynccontextmanager
async def scripted_server() -> AsyncIterator[ScriptedServer]:
    scripted = ScriptedServer()
    async with listening(scripted.serve) as port:
        scripted.url = f"http://127.0.0.1:{port}/mcp"
        yield scripted


@contextlib.asynccontextmanager
async def listening(serve: Serve, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serves connections on a loopback port, which it yields, and leaves none of them open."""
    connections: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """No coroutine: one that is cancelled before it begins would leave its connection open."""
        connections[writer] = asyncio.create_task(serve(reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer, task in connections.items():
            task.cancel()
            writer.transport.abort()
        await asyncio.gather(*connections.values(), return_exceptions=True)
        await asyncio.gather(*(writer.wait_closed() for writer in connections), return_exceptions=True)


async def eventually(condition: Callable[[], bool], *, within_seconds: float = 30.0) -> None:
    """Waits until the condition holds; fails the test when it never does."""
    async with asyncio.timeout(within_seconds):
        while not condition():  # noqa: ASYNC110  # conditions are of all kinds
            await asyncio.sleep(0.005)
