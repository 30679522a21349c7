"""/healthz: the process answers. /readyz: it could serve a call now, one line a part.

The pages and the evidence's health have a line, too, but calls do not need them: a gateway without them is ready.
"""

import asyncio

from gateway.commit.entry import EvidenceUnavailable
from gateway.evidence_gauges import HealthReader
from gateway.mcp.http import Receive, Scope, Send, respond
from gateway.runtime import GatewayRuntime

CONNECT_SECONDS = 0.5
HEALTH_SECONDS = 2.0


class Health:
    """ASGI application beside the endpoint; says nothing of agents, people or systems."""

    def __init__(self, runtime: GatewayRuntime, pages_socket: str, reader: HealthReader) -> None:
        self._runtime = runtime
        self._reader = reader
        self._pages_socket = pages_socket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await respond(send, 405, None, [(b"allow", b"GET, HEAD")])
        elif scope["url_route"]["kwargs"]["probe"] == "healthz":
            await respond(send, 200, {"status": "ok"})
        else:
            parts = await self._parts()
            is_ready = all(part == "ok" for part in parts.values())
            told = parts | await self._pages() | (await self._evidence() if is_ready else {})
            await respond(send, 200 if is_ready else 503, {"ready": is_ready, "parts": told})

    async def _parts(self) -> dict[str, str]:
        try:
            await self._runtime.ports.confirmed_snapshot()
        except EvidenceUnavailable as error:
            return {"database": str(error) or "unavailable", "snapshot": "cannot be confirmed"}
        return {"database": "ok", "snapshot": "ok"}

    async def _evidence(self) -> dict[str, str]:
        """Records are committed; this is about what becomes of them: sealed, kept elsewhere, with room to grow."""
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                troubles = dict((await self._reader.read()).troubles())
        except (EvidenceUnavailable, TimeoutError):
            return {"evidence": "unknown"}
        return {"evidence": ", ".join(sorted({name.partition(":")[0] for name in troubles})) or "ok"}

    async def _pages(self) -> dict[str, str]:
        """Whether somebody listens on their socket; nothing for a gateway that was started alone."""
        if not self._pages_socket:
            return {}
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, writer = await asyncio.open_unix_connection(self._pages_socket)
        except (OSError, TimeoutError):
            return {"pages": "not answering"}
        writer.close()
        return {"pages": "ok"}
