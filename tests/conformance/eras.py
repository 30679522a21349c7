"""An application as a server that speaks one era only would be: it refuses the other one, as the specification says."""

import json
from typing import Any

ERAS = ("both", "legacy", "modern")
MODERN = b"2026-07-28"
EARLIER = (None, b"2024-11-05", b"2025-03-26", b"2025-06-18", b"2025-11-25")
"""Also the handshake itself, which names no version in a header."""
UNKNOWN = {"code": -32000, "message": "Bad Request: Unsupported protocol version"}
UNSUPPORTED = {"code": -32022, "message": "Unsupported protocol version", "data": {"supported": [MODERN.decode()]}}
NOT_FOUND = {"code": -32600, "message": "Not Found"}
NOT_ALLOWED = {"code": -32600, "message": "Method Not Allowed"}


def of_era(app: Any, era: str) -> Any:
    return {"both": lambda whole: whole, "legacy": legacy_only, "modern": modern_only}[era](app)


def legacy_only(app: Any) -> Any:
    """A server of last year: it has never heard of a modern request."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and version_of(scope) not in EARLIER:
            await answer(send, 400, UNKNOWN)
        else:
            await app(scope, receive, send)

    return serve


def modern_only(app: Any) -> Any:
    """A server without the handshake, GET and DELETE."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or version_of(scope) not in EARLIER:
            await app(scope, receive, send)
        elif scope["method"] == "POST":
            await answer(send, 400, UNSUPPORTED)
        else:
            await answer(send, 405, NOT_ALLOWED)

    return serve


def version_of(scope: Any) -> bytes | None:
    return dict(scope["headers"]).get(b"mcp-protocol-version")


async def answer(send: Any, status: int, error: dict[str, Any]) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
