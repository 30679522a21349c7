"""What stands between the official suite, which can send no credential, and a gateway, which wants one.

    async with shim([origin], token=key) as url: ...

It adds `Authorization` to the head of each request and closes the connection after the answer; every other byte, of
`Host`, `Origin`, `Mcp-*` and event streams, goes through as it came. Several origins take the requests in turn.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from urllib.parse import urlsplit

HEAD_END = b"\r\n\r\n"
CHUNK_BYTES = 65536
LOST = (OSError, asyncio.IncompleteReadError)


@asynccontextmanager
async def shim(origins: Sequence[str], *, token: str) -> AsyncIterator[str]:
    """Its own origin, named `localhost` as the suite demands."""
    turns = itertools.cycle(origins)
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        task.add_done_callback(connections.discard)
        with closing(writer), suppress(*LOST, asyncio.CancelledError):
            await carry(reader, writer, next(turns), token)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://localhost:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, origin: str, token: str) -> None:
    """One request there and its answer back; each side that leaves is left by the other, too."""
    head = authorized(await reader.readuntil(HEAD_END), token)
    address = urlsplit(origin)
    theirs, ours = await asyncio.open_connection(address.hostname, address.port)
    with closing(ours):
        ours.write(head)
        sides = [asyncio.create_task(copy(reader, ours)), asyncio.create_task(copy(theirs, writer))]
        try:
            await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for side in sides:
                side.cancel()
            await asyncio.gather(*sides, return_exceptions=True)


def authorized(head: bytes, token: str) -> bytes:
    """The request's head with the credential, and without the wish to keep the connection."""
    request, *headers = head.removesuffix(HEAD_END).split(b"\r\n")
    kept = [header for header in headers if not header.lower().startswith(b"connection:")]
    added = [b"Authorization: Bearer " + token.encode(), b"Connection: close"]
    return b"\r\n".join([request, *kept, *added]) + HEAD_END


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
