"""A request's head is bounded before anybody is asked who sends it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import uvicorn

from gateway import http_limits, http_writes
from gateway.http_connections import Connections
from gateway.http_limits import HEAD_LIMIT, BoundedHttpProtocol


async def hello(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def configured(app: Any, *, maximum: int = 1_000, of_one_address: int = 1_000) -> uvicorn.Config:
    protocol: Any = partial(BoundedHttpProtocol, Connections(maximum=maximum, of_one_address=of_one_address))
    return uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None, timeout_graceful_shutdown=2)


@asynccontextmanager
async def serving(app: Any, **bounds: int) -> AsyncIterator[int]:
    """The port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = configured(app, **bounds)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    yield listener.getsockname()[1]
    server.should_exit = True
    await task


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with serving(hello) as port:
        yield port


async def said(port: int, *parts: bytes) -> bytes:
    """What the server answers to these bytes before it closes or answers whole; empty when it just cuts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await asyncio.wait_for(reader.read(4096), 20)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_requests_of_ordinary_size_pass_also_on_a_kept_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
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


async def test_a_connection_that_says_nothing_is_cut(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "HEAD_SECONDS", 0.1)
    assert await said(port) == b""


REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Waiter:
    """An application at work on every request until it is let go."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.go_on.wait()
        await hello(scope, receive, send)


async def test_a_connection_too_many_is_sent_away_while_all_are_at_work() -> None:
    waiter = Waiter()
    async with serving(waiter, maximum=2) as port:
        at_work = [asyncio.create_task(said(port, REQUEST)) for _ in range(2)]
        while not (answer := await said(port)).startswith(b"HTTP/1.1 503 "):
            continue
        assert b"retry-after: " in answer
        waiter.go_on.set()
        assert all(b" 200 " in answer for answer in await asyncio.gather(*at_work))
        assert b" 200 " in await said(port, REQUEST)


@pytest.mark.parametrize("bounds", [{"maximum": 3}, {"of_one_address": 3}], ids=["of all", "of an address"])
async def test_silent_connections_keep_nobody_out(bounds: dict[str, int]) -> None:
    async with serving(hello, **bounds) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        assert b" 200 " in await said(port, REQUEST)
        assert await asyncio.wait_for(silent[0][0].read(), 20) == b""
        for _, writer in silent:
            writer.close()


async def endless(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while (await receive())["type"] != "http.disconnect":
        for _ in range(200):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})


async def test_a_client_that_takes_nothing_of_its_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "STUCK_SECONDS", 0.1)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(configured(endless))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    with socket.create_connection(listener.getsockname()) as stuck:
        stuck.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        async with asyncio.timeout(10):
            while not server.server_state.tasks:  # noqa: ASYNC110  (uvicorn tells nobody)
                await asyncio.sleep(0)
            while server.server_state.connections:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    server.should_exit = True
    await serving


async def last_words(scope: Any, receive: Any, send: Any) -> None:
    """More than the system takes at once, less than the server waits for anybody to take."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": b"x" * 60_000})


async def test_the_rest_of_an_answer_that_is_not_taken_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing alone would wait for such a client for ever."""
    monkeypatch.setattr(http_writes, "CLOSE_SECONDS", 0.2)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    server = uvicorn.Server(configured(last_words))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        stuck.connect(listener.getsockname())
        stuck.sendall(REQUEST)
        async with asyncio.timeout(10):
            while server.server_state.total_requests == 0:  # noqa: ASYNC110  (uvicorn tells nobody)
                await asyncio.sleep(0.01)
            assert server.server_state.connections
            while server.server_state.connections:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    server.should_exit = True
    await serving


async def refuses(scope: Any, receive: Any, send: Any) -> None:
    """Without a look at the body, as strangers are refused."""
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def test_a_body_that_drips_after_its_answer_holds_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "HEAD_SECONDS", 0.2)
    async with serving(refuses) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
        assert b" 401 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(drip(writer), 20)
        writer.close()


async def drip(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def test_a_body_that_comes_after_its_answer_keeps_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_limits, "HEAD_SECONDS", 0.6)
    async with serving(refuses) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n")
            assert b" 401 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            writer.write(b"xxx")
            await asyncio.sleep(0.8)
        writer.close()
        await writer.wait_closed()
