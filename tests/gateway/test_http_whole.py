"""What is done at once is what uvicorn does in steps: the same bytes for the client, the same messages for the
application."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.http_connections import Connections
from gateway.http_limits import BoundedHttpProtocol
from gateway.mcp.http import ARRIVED
from tests.gateway.test_http_limits import configured, serving

LENGTH = (b"content-length", b"2")
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
REQUESTS = (GET, POST + b"hello", GET.replace(b"GET", b"HEAD", 1), GET + POST + b"hello")
ANSWERS: tuple[tuple[int, tuple[tuple[bytes, bytes], ...], tuple[bytes, ...]], ...] = (
    (200, (LENGTH,), (b"ok",)),
    (503, (LENGTH, (b"retry-after", b"1")), (b"ok",)),
    (200, ((b"x-first", b"1"), LENGTH, (b"x-last", b"")), (b"ok",)),
    (200, ((b"content-length", b"0"),), (b"",)),
    (200, (LENGTH,), (b"o", b"k")),
    (200, ((b"content-type", b"text/event-stream"),), (b"data: 1\n\n", b"")),
    (204, (), (b"",)),
    (200, (LENGTH, (b"connection", b"close")), (b"ok",)),
    (200, (LENGTH, (b"x-split", b"1\r\nx-made-up: 2")), (b"ok",)),
    (200, (LENGTH, (b"x-bare", b"1\nx-made-up: 2")), (b"ok",)),
    (200, (LENGTH, (b"x-nul", b"\0")), (b"ok",)),
    (200, ((b"content-length", b"3"),), (b"ok",)),
    (200, ((b"content-length", b"1"),), (b"ok",)),
)
"""Status, headers and the parts of the body; the path of a request says which."""


async def answering(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    status, headers, parts = ANSWERS[int(scope["path"][1:] or 0)]
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    for part in parts[:-1]:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": parts[-1]})


@asynccontextmanager
async def plain(app: Any) -> AsyncIterator[int]:
    """The port of uvicorn as it is."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=HttpToolsProtocol, ws="none", lifespan="off", log_config=None))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    yield listener.getsockname()[1]
    server.should_exit = True
    await task


async def heard(port: int, said: bytes) -> bytes:
    """All that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    everything = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return re.sub(rb"date: [^\r]*", b"date: now", everything)


async def test_the_client_hears_what_uvicorn_would_say() -> None:
    async with serving(answering) as ours, plain(answering) as uvicorns:
        for number, request in product(range(len(ANSWERS)), REQUESTS):
            said = (request + LAST).replace(b" / ", b" /%d " % number)
            answer = await heard(ours, said)
            assert answer == await heard(uvicorns, said), said
            assert b"x-made-up" not in answer


@dataclass
class Reading:
    """Answers with what was there at once, and notes what came by `receive`."""

    told: list[Any] = field(default_factory=list)
    has_looked: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        arrived = scope["extensions"][ARRIVED]()
        self.told.append(arrived)
        self.has_looked.set()
        while arrived is None and self.told[-1] != b"hello":
            self.told.append((await receive())["body"])
        if scope["path"] != "/wait":
            await send({"type": "http.response.start", "status": 200, "headers": [LENGTH]})
            await send({"type": "http.response.body", "body": b"ok"})
        self.told.append((await receive())["type"])


async def test_a_body_that_came_with_its_head_is_there_at_once_and_only_once() -> None:
    app = Reading()
    async with serving(app) as port:
        assert (await heard(port, POST + b"hello" + LAST)).count(b"\r\n\r\nok") == 2
    assert app.told == [b"hello", "http.disconnect", b"", "http.disconnect"]


async def test_a_body_that_comes_later_is_received() -> None:
    app = Reading()
    async with serving(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST)
        await asyncio.wait_for(app.has_looked.wait(), 20)
        writer.write(b"hello")
        assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        writer.close()
    assert app.told == [None, b"hello", "http.disconnect"]


@pytest.mark.parametrize(("path", "is_kept"), [(b"/unread", False), (b"/read", True)])
async def test_who_was_not_told_to_go_on_gets_no_second_answer(path: bytes, is_kept: bool) -> None:
    """A client that then sends no body, and whose next request would be taken for it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/read":
            await receive()
        await send({"type": "http.response.start", "status": 401, "headers": [LENGTH]})
        await send({"type": "http.response.body", "body": b"no"})

    asked = POST.replace(b"/ ", path + b" ", 1).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    async with serving(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(asked)
        if is_kept:
            assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20) == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"hello" + LAST)
        assert (await asyncio.wait_for(reader.read(), 20)).count(b" 401 ") == (2 if is_kept else 1)
        writer.close()


async def test_who_leaves_is_noticed_after_the_body_was_there_at_once() -> None:
    app = Reading()
    async with serving(app) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST.replace(b"/ ", b"/wait ") + b"hello")
        await asyncio.wait_for(app.has_looked.wait(), 20)
        writer.close()
    assert app.told == [b"hello", "http.disconnect"]


async def test_who_fails_between_head_and_body_has_said_nothing_yet() -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [LENGTH]})
        raise RuntimeError("on purpose")

    async with serving(fails) as port:
        said = await heard(port, GET)
    assert said.startswith(b"HTTP/1.1 500 ")
    assert b"200" not in said


class Loop:
    """A clock that stands still, and the timers set by it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, act: Callable[[], None]) -> Any:
        timer = (self.now + seconds, act)
        self.timers.append(timer)
        return Cancelling(lambda: self.timers.remove(timer))

    def pass_to(self, now: float) -> None:
        while due := [timer for timer in self.timers if timer[0] <= now]:
            self.timers.remove(due[0])
            self.now = due[0][0]
            due[0][1]()
        self.now = now


@dataclass
class Cancelling:
    cancel: Callable[[], None]


class Wire:
    def __init__(self) -> None:
        self.is_closed = False

    def get_extra_info(self, *_: Any) -> None:
        return None

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


def test_a_connection_is_closed_when_it_was_idle_for_so_long_and_no_sooner() -> None:
    loop, wire = Loop(), Wire()
    config = configured(answering)
    config.timeout_keep_alive = 10
    kept = Connections(maximum=10, of_one_address=10)
    connection: Any = BoundedHttpProtocol(kept, config, ServerState(), {}, loop)
    connection.connection_made(wire)
    connection._end_head()
    for now in (0, 6, 12, 18):
        loop.pass_to(now)
        connection._unset_keepalive_if_required()
        connection.on_response_complete()
    assert len(loop.timers) == 1
    loop.pass_to(27.9)
    assert not wire.is_closed
    loop.pass_to(28)
    assert wire.is_closed


def test_a_connection_at_work_is_not_idle_and_one_that_went_leaves_no_timer() -> None:
    loop, wire = Loop(), Wire()
    config = configured(answering)
    config.timeout_keep_alive = 10
    connection: Any = BoundedHttpProtocol(Connections(maximum=10, of_one_address=10), config, ServerState(), {}, loop)
    connection.connection_made(wire)
    connection._end_head()
    connection.on_response_complete()
    connection._unset_keepalive_if_required()
    loop.pass_to(100)
    assert not wire.is_closed
    connection.on_response_complete()
    assert len(loop.timers) == 1
    connection.connection_lost(None)
    assert loop.timers == []
