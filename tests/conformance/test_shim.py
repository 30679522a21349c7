"""The shim adds a credential and nothing else, and gives the requests to the gateways in turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

from tests.conformance.shim import HEAD_END, shim

REQUEST = (
    b"POST /mcp HTTP/1.1\r\nhOsT: evil.example.com\r\nConnection: keep-alive\r\n"
    b"Mcp-Name:   odd \r\nContent-Length: 4\r\n"
)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: \xff\n\n"


@asynccontextmanager
async def upstream(heard: list[bytes]) -> AsyncIterator[str]:
    """Keeps what it hears and answers one stream."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(HEAD_END) + await reader.readexactly(4))
        writer.write(ANSWER)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def exchanged(url: str, data: bytes) -> bytes:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    return answer


async def test_it_adds_the_credential_and_takes_turns() -> None:
    first: list[bytes] = []
    second: list[bytes] = []
    async with AsyncExitStack() as stack:
        origins = [await stack.enter_async_context(upstream(heard)) for heard in (first, second)]
        url = await stack.enter_async_context(shim(origins, token="secret"))
        answers = [await exchanged(url, REQUEST + b"\r\nbody") for _ in range(4)]
    expected = REQUEST.replace(b"Connection: keep-alive\r\n", b"")
    expected += b"Authorization: Bearer secret\r\nConnection: close\r\n\r\nbody"
    assert (first, second) == ([expected] * 2, [expected] * 2)
    assert answers == [ANSWER] * 4


async def test_a_client_that_leaves_is_left() -> None:
    """A modern client cancels by closing its stream: the gateway has to notice."""
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(HEAD_END)
        await reader.read()
        gone.set()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with shim([origin], token="secret") as url, asyncio.timeout(30):
            _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
            writer.write(b"GET /mcp HTTP/1.1\r\n\r\n")
            writer.close()
            await gone.wait()
