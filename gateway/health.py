"""/healthz: the process answers. /readyz: it could serve a call now, one line a part."""

from gateway.commit.entry import EvidenceUnavailable
from gateway.mcp.http import Receive, Scope, Send, respond
from gateway.runtime import GatewayRuntime


class Health:
    """ASGI application beside the endpoint; says nothing of agents, people or systems."""

    def __init__(self, runtime: GatewayRuntime) -> None:
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            await respond(send, 405, None, [(b"allow", b"GET, HEAD")])
        elif scope["url_route"]["kwargs"]["probe"] == "healthz":
            await respond(send, 200, {"status": "ok"})
        else:
            parts = await self._parts()
            is_ready = all(part == "ok" for part in parts.values())
            await respond(send, 200 if is_ready else 503, {"ready": is_ready, "parts": parts})

    async def _parts(self) -> dict[str, str]:
        try:
            await self._runtime.ports.confirmed_snapshot()
        except EvidenceUnavailable as error:
            return {"database": str(error) or "unavailable", "snapshot": "cannot be confirmed"}
        return {"database": "ok", "snapshot": "ok"}
