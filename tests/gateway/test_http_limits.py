"""A request's head is bounded before anybody is asked who sends it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from gateway import http_limits
from gateway.http_limits import HEAD_LIMIT, BoundedHttpProtocol


async def hello(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(hello, http=BoundedHttpProtocol, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    yield listener.getsockname()[1]
    server.should_exit = True
    await serving


async def said(port: int, *parts: bytes) -> bytes:
    """What the server answers to these bytes before it closes or answers whole; empty when it just cuts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await asyncio.wait_for(reader.read(4096), 5)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_requests_of_ordinary_size_pass_also_on_a_kept_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert b" 200 " in head
        assert await reader.readexactly(2) == b"ok"
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "line", [b"X: " + b"a" * 1000 + b"\r\n", b"a" * 1000], ids=["many header lines", "one endless line"]
)
async def test_an_endless_head_is_cut(port: int, line: bytes) -> None:
    opening = b"GET / HTTP/1.1\r\n" + (b"X: " if b":" not in line else b"")
    assert b" 200 " not in await said(port, opening, *[line] * (HEAD_LIMIT // 1000 + 100))


async def test_a_head_that_drips_is_cut(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "HEAD_SECONDS", 0.1)
    assert await said(port, b"GET / HTTP/1.1\r\nX: ") == b""
