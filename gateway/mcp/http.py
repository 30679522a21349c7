"""HTTP as the MCP endpoint sees it: bounded reading, strict headers, one way to answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.mcp.errors import INVALID_REQUEST, ProtocolError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

BODY_LIMIT = 4 * 1024 * 1024
BODY_SECONDS = 30.0
SINGLE = frozenset(
    (
        b"authorization",
        b"host",
        b"origin",
        b"content-type",
        b"content-length",
        b"mcp-protocol-version",
        b"mcp-method",
        b"mcp-name",
        b"mcp-session-id",
    )
)
"""Headers somebody decides on: sent twice, two readers might each believe another one."""


class ClientGone(Exception):
    """The client closed before its request was complete."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    bundle: str | None
    headers: dict[bytes, bytes] = field(repr=False)
    source_ip: str

    def text(self, name: bytes) -> str:
        """A header's value without surrounding white space (RFC 9110 section 5.5); empty when absent."""
        return self.headers.get(name, b"").strip(b" \t").decode("latin-1")


def read_request(scope: Scope, bundle: str | None) -> Request:
    """Raises ProtocolError when a header that is decided on comes twice."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in headers and (name in SINGLE or name.startswith(b"mcp-param-")):
            raise ProtocolError(INVALID_REQUEST, f"Header '{name.decode('latin-1')}' is sent more than once.")
        headers[name] = value
    client = scope.get("client")
    return Request(scope["method"], bundle, headers, client[0] if client else "")


async def read_body(request: Request, receive: Receive) -> bytes:
    """Raises ProtocolError 413 over the limit, 408 when it takes too long, ClientGone when it never ends."""
    declared = request.headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > BODY_LIMIT:
        raise _too_large()
    message = await _next_part(receive)
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return _bounded(body)
    parts = bytearray(body)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while message.get("more_body"):
                message = await _next_part(receive)
                parts += message.get("body", b"")
                _bounded(parts)
    except TimeoutError as error:
        text = f"The request body did not arrive within {BODY_SECONDS:g} s."
        raise ProtocolError(INVALID_REQUEST, text, status=408) from error
    return bytes(parts)


async def _next_part(receive: Receive) -> MutableMapping[str, Any]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


def _bounded(body: bytes | bytearray) -> bytes:
    if len(body) > BODY_LIMIT:
        raise _too_large()
    return body  # type: ignore[return-value]


def _too_large() -> ProtocolError:
    return ProtocolError(INVALID_REQUEST, f"The request body is over the limit of {BODY_LIMIT} bytes.", status=413)


async def respond(send: Send, status: int, message: Any = None, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """`message` None means an empty body."""
    body = b"" if message is None else orjson.dumps(message)
    fixed = [(b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    if message is not None:
        fixed.append((b"content-type", b"application/json"))
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})
