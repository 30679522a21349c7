"""/metrics: the numbers of all gateway processes on this machine, whichever of them is asked.

Each answers the others on a Unix socket in the folder that `serve` made for it, which nobody else may enter. Nothing is
written anywhere in the meantime; one that does not answer is shown as down.
"""

import asyncio
import hmac
import os
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from gateway.commit.entry import EvidenceUnavailable
from gateway.exposition import CONTENT_TYPE, Family, gauge, of_process, pack, text, unpack
from gateway.mcp.admission import bearer_token
from gateway.mcp.errors import ProtocolError
from gateway.mcp.http import Receive, Request, Scope, Send, read_request, respond

ANSWER_SECONDS: Final = 2.0
ANSWER_LIMIT: Final = 32 * 1024 * 1024
SUFFIX: Final = ".metrics"
LOOPBACK_HOSTS: Final = frozenset(("localhost", "127.0.0.1", "::1"))
FORWARDED: Final = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via")


class Numbers(Protocol):
    def of_process(self) -> list[Family]: ...

    async def of_installation(self) -> list[Family]:
        """What is in the database: the same whichever process is asked. Raises EvidenceUnavailable."""


class MetricsPage:
    """ASGI application. `folder` is None where this process has no others beside it.

    With a token, whoever shows it may read, and nobody else. Without one, whoever asks from this machine itself.
    """

    def __init__(self, numbers: Numbers, *, folder: Path | None, process: str = "", token: str = "") -> None:
        self._numbers = numbers
        self._folder = folder
        self._process = process or f"pid-{os.getpid()}"
        self._token = token
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        if self._folder is not None:
            path = self._folder / f"{self._process}{SUFFIX}"
            path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._tell, path)

    async def stop(self) -> None:
        if self._server is not None and self._folder is not None:
            self._server.close()
            (self._folder / f"{self._process}{SUFFIX}").unlink(missing_ok=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET" or not self._may_read(scope):
            await respond(send, 404)
            return
        body = text([*await self._of_all(), *await self._of_installation()])
        headers = [(b"content-type", CONTENT_TYPE), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _may_read(self, scope: Scope) -> bool:
        try:
            request = read_request(scope, None)
        except ProtocolError:
            return False
        if self._token:
            return hmac.compare_digest(bearer_token(request).encode(), self._token.encode())
        return _is_from_here(request)

    # -- this process and those beside it

    def _own(self) -> list[Family]:
        up = gauge("gatehouse_up", "Whether the process answered.", ({}, 1))
        return of_process(self._process, [up, *self._numbers.of_process()])

    async def _of_all(self) -> list[Family]:
        if self._folder is None:
            return self._own()
        others = sorted(path for path in self._folder.glob(f"*{SUFFIX}") if path.stem != self._process)
        told = await asyncio.gather(*map(_ask, others))
        return self._own() + [family for families in told for family in families]

    async def _of_installation(self) -> list[Family]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._numbers.of_installation()
        except (EvidenceUnavailable, TimeoutError):
            return []

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                writer.write(pack(self._own()))
                await writer.drain()
        writer.close()


async def _ask(path: Path) -> list[Family]:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(path, limit=ANSWER_LIMIT)
            try:
                return unpack(await reader.read(-1))
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError, TypeError):
        return of_process(path.stem, [gauge("gatehouse_up", "Whether the process answered.", ({}, 0))])


def _is_from_here(request: Request) -> bool:
    """A proxy on this machine comes from here, too, on behalf of anybody: what it adds gives it away. A page in
    somebody's browser could come from here, but cannot choose its `Host` (DNS rebinding)."""
    if any(name in request.headers for name in FORWARDED):
        return False
    try:
        host = urlsplit(f"//{request.text(b'host')}").hostname
        return host in LOOPBACK_HOSTS and ip_address(request.source_ip).is_loopback
    except ValueError:
        return False
