"""HTTP that is meant to be read in two ways, or to cost more than it brings: refused or cut, in bounded time, and no
part of it is ever taken for a second request."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from gateway.http_limits import HEAD_LIMIT, HEADERS_LIMIT, PIPELINED
from tests.gateway.test_http_limits import serving

HOST = b"Host: h\r\n"
INSIDE = b"GET /inside HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST /outside HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n"


@dataclass
class Application:
    """Reads whole requests and answers them; /slow when it is let go. `seen`: those that arrived whole."""

    seen: list[tuple[str, bytes]] = field(default_factory=list)
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    begun: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun += 1
        body, is_whole = b"", False
        while not is_whole:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            is_whole = not message["more_body"]
        self.seen.append((scope["path"], body))
        self.headers = list(scope["headers"])
        if scope["path"] == "/slow":
            await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@dataclass
class Desk:
    app: Application
    port: int


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    app = Application()
    async with serving(app) as port:
        yield Desk(app, port)
        app.go_on.set()


async def until_closed(port: int, *parts: bytes) -> bytes:
    """What was answered before the server closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(30):
            while piece := await reader.read(65536):
                answer += piece
    except ConnectionError:
        pass
    finally:
        writer.close()
    return answer


TWO_READINGS = {
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INSIDE,
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + INSIDE,
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(INSIDE) + INSIDE,
    "a length twice": POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nxx" + INSIDE,
    "a list of lengths": POST + b"Content-Length: 2, 2\r\n\r\nxx" + INSIDE,
    "a signed length": POST + b"Content-Length: +2\r\n\r\nxx" + INSIDE,
    "an endless length": POST + b"Content-Length: 99999999999999999999999\r\n\r\nxx" + INSIDE,
    "a space before the colon": POST + b"Content-Length : 2\r\n\r\nxx" + INSIDE,
    "nearly chunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + INSIDE,
    "chunked, but not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + INSIDE,
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INSIDE,
    "chunked behind a control": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + INSIDE,
    "a folded encoding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + INSIDE,
    "a folded header": POST + b"X-Note: a\r\n b\r\n\r\n",
    "a folded host": b"GET /outside HTTP/1.1\r\nHost: h\r\n evil\r\n\r\n",
    "a space before the first header": b"GET /outside HTTP/1.1\r\n Host: h\r\n\r\n",
    "bare line feeds": b"GET /outside HTTP/1.1\nHost: h\n\n",
    "one bare line feed": b"GET /outside HTTP/1.1\r\nHost: h\nX-Note: 1\r\n\r\n",
    "a bare carriage return": b"GET /outside HTTP/1.1\r\nHost: h\rX-Note: 1\r\n\r\n",
    "a zero byte": b"GET /outside HTTP/1.1\r\nHost: h\r\nX-Note: a\0b\r\n\r\n",
    "bare line feeds in chunks": CHUNKED + b"2\nxx\n0\n\n" + INSIDE,
    "a line feed in an extension": CHUNKED + b"2;a\nb\r\nxx\r\n0\r\n\r\n" + INSIDE,
    "a negative chunk": CHUNKED + b"-2\r\nxx\r\n0\r\n\r\n" + INSIDE,
    "an endless chunk": CHUNKED + b"FFFFFFFFFFFFFFFFFF\r\nxx\r\n0\r\n\r\n" + INSIDE,
    "a space in the target": b"GET /outside HTTP/1.1 /b HTTP/1.1\r\nHost: h\r\n\r\n",
    "a target that is no text": b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n",
    "another protocol": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a tunnel": b"CONNECT evil:443 HTTP/1.1\r\nHost: h\r\n\r\n" + INSIDE,
}


@pytest.mark.parametrize("sent", TWO_READINGS.values(), ids=TWO_READINGS.keys())
async def test_what_can_be_read_in_two_ways_is_not_read(desk: Desk, sent: bytes) -> None:
    answer = await until_closed(desk.port, sent)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert desk.app.seen == []


async def test_nothing_behind_a_last_request_is_served(desk: Desk) -> None:
    answer = await until_closed(desk.port, POST + b"Connection: close\r\nContent-Length: 2\r\n\r\nxx" + INSIDE)
    assert answer.count(b"HTTP/1.1 200 ") == 1
    assert desk.app.seen == [("/outside", b"xx")]


async def test_a_request_in_a_body_is_a_body(desk: Desk) -> None:
    head = b"GET /outside HTTP/1.1\r\n" + HOST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(INSIDE)
    await until_closed(desk.port, head + INSIDE)
    assert desk.app.seen == [("/outside", INSIDE)]


async def test_trailers_are_never_headers(desk: Desk) -> None:
    head = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await until_closed(desk.port, head + b"2\r\nxx\r\n0\r\nX-Forwarded-For: 10.0.0.1\r\nHost: evil\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert [name for name, _ in desk.app.headers] == [b"host", b"connection", b"transfer-encoding"]


LARGE_HEADS = {
    "a value": b"GET /outside HTTP/1.1\r\nX: " + b"a" * HEAD_LIMIT,
    "a name": b"GET /outside HTTP/1.1\r\n" + b"a" * HEAD_LIMIT + b": x",
    "a target": b"GET /" + b"a" * HEAD_LIMIT + b" HTTP/1.1",
    "lines": b"GET /outside HTTP/1.1" + b"\r\nX: y" * (HEADERS_LIMIT + 2),
}


@pytest.mark.parametrize("head", LARGE_HEADS.values(), ids=LARGE_HEADS.keys())
@pytest.mark.parametrize("ending", [b"\r\n\r\n", b"\r\n"], ids=["whole", "half"])
async def test_a_large_head_is_refused_also_when_it_comes_in_one_piece(desk: Desk, head: bytes, ending: bytes) -> None:
    answer = await until_closed(desk.port, head + ending)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert desk.app.begun == 0


async def test_a_head_at_the_limits_passes(desk: Desk) -> None:
    lines = b"X: y\r\n" * (HEADERS_LIMIT - 2) + b"Y: " + b"a" * (HEAD_LIMIT - 2_000) + b"\r\n"
    answer = await until_closed(desk.port, b"GET /outside HTTP/1.1\r\nConnection: close\r\n" + lines + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


CHUNK_BOMBS = {
    "chunks of one byte": (CHUNKED, b"1\r\nx\r\n" * 2_000),
    "an endless extension": (CHUNKED + b"1;", b"a" * 10_000),
    "endless trailers": (CHUNKED + b"1\r\nx\r\n0\r\n", b"a: b\r\n" * 20),
    "an endless trailer": (CHUNKED + b"1\r\nx\r\n0\r\na: ", b"b" * 10_000),
}


@pytest.mark.parametrize(("beginning", "more"), CHUNK_BOMBS.values(), ids=CHUNK_BOMBS.keys())
async def test_chunks_that_are_mostly_not_body_are_cut(desk: Desk, beginning: bytes, more: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", desk.port)
    writer.write(beginning)
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(pour(writer, more), 20)
    writer.close()
    assert desk.app.seen == []


async def pour(writer: asyncio.StreamWriter, more: bytes) -> None:
    while True:
        writer.write(more)
        await writer.drain()
        await asyncio.sleep(0)


async def test_a_body_in_small_chunks_passes(desk: Desk) -> None:
    head = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    parts = [b"8\r\nxxxxxxxx\r\n" * 1_000] * 50
    answer = await until_closed(desk.port, head, *parts, b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert desk.app.seen == [("/outside", b"x" * 8 * 50_000)]


async def test_a_few_pipelined_requests_are_answered_in_turn(desk: Desk) -> None:
    last = INSIDE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answer = await until_closed(desk.port, INSIDE * (PIPELINED - 1) + last)
    assert answer.count(b"HTTP/1.1 200 ") == len(desk.app.seen) == PIPELINED


@pytest.mark.parametrize("parts", [1, 100], ids=["in one piece", "one by one"])
async def test_a_flood_of_pipelined_requests_is_cut(desk: Desk, parts: int) -> None:
    """They would wait in memory behind one that takes its time, each a hundred times its size on the wire."""
    answer = await until_closed(desk.port, SLOW, *[INSIDE * (1_000 // parts)] * parts)
    assert answer == b""
    assert desk.app.begun <= 1


async def test_nonsense_behind_a_request_at_work_is_no_answer_to_it(desk: Desk) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.port)
    writer.write(INSIDE + SLOW)
    await reader.readuntil(b"ok")
    writer.write(INSIDE + b"\0\0\0\r\n\r\n")
    assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()
