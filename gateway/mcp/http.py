"""HTTP as the MCP endpoint sees it: bounded reading, strict headers, one way to answer."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import field
from typing import Any

import orjson

from gateway.mcp.errors import HEADER_MISMATCH, INVALID_REQUEST, ProtocolError
from gateway.values import per_call

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

ARRIVED = "gatehouse.arrived"
"""ASGI extension: called without arguments it gives the request's whole body, or None while some of it is to come."""
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
        b"last-event-id",
    )
)
"""Headers somebody decides on: sent twice, two readers might each believe another one."""
ROUTING = frozenset((b"mcp-protocol-version", b"mcp-method", b"mcp-name"))
MIRRORED = b"mcp-param-"
"""Those that a router between us and the client may decide on (2026-07-28); arguments are repeated in the latter."""
STREAM_TYPE = (b"content-type", b"text/event-stream")
STREAM_HEADERS = (
    STREAM_TYPE,
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)


class ClientGone(Exception):
    """The client closed before its request was complete."""


@per_call
class Request:
    """`version` and `session_id` are what its headers say, or empty."""

    method: str
    bundle: str | None
    headers: dict[bytes, bytes] = field(repr=False)
    source_ip: str
    version: str = field(init=False)
    session_id: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "version", self.text(b"mcp-protocol-version"))
        object.__setattr__(self, "session_id", self.text(b"mcp-session-id"))

    def text(self, name: bytes) -> str:
        """A header's value without surrounding white space (RFC 9110 section 5.5); empty when absent."""
        return self.headers.get(name, b"").strip(b" \t").decode("latin-1")


def read_request(scope: Scope, bundle: str | None) -> Request:
    """Raises ProtocolError when a header that is decided on comes twice."""
    headers = dict(scope["headers"])
    if len(headers) != len(scope["headers"]):
        headers = _with_repeated(scope["headers"])
    client = scope.get("client")
    return Request(scope["method"], bundle, headers, client[0] if client else "")


def _with_repeated(lines: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for name, value in lines:
        if name in headers and (name in SINGLE or name.startswith(MIRRORED)):
            code = HEADER_MISMATCH if name in ROUTING or name.startswith(MIRRORED) else INVALID_REQUEST
            raise ProtocolError(code, f"Header '{name.decode('latin-1')}' is sent more than once.")
        headers[name] = b", ".join((headers[name], value)) if name == b"accept" and name in headers else value
    return headers


def arrived_body(scope: Scope) -> bytes | None:
    """The whole body if it came with the head: then nobody need wait for it against the clock. Raises ProtocolError
    413 over the limit."""
    arrived = scope.get("extensions", {}).get(ARRIVED)
    body: bytes | None = arrived() if arrived is not None else None
    return None if body is None else _bounded(body)


async def read_body(request: Request, receive: Receive) -> bytes:
    """Raises ProtocolError 413 over the limit, 408 when it takes too long, ClientGone when it never ends."""
    declared = request.headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > BODY_LIMIT:
        raise _too_large()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _whole_body(receive)
    except TimeoutError as error:
        text = f"The request body did not arrive within {BODY_SECONDS:g} s."
        raise ProtocolError(INVALID_REQUEST, text, status=408) from error


async def _whole_body(receive: Receive) -> bytes:
    message = await _next_part(receive)
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return _bounded(body)
    parts = bytearray(body)
    while message.get("more_body"):
        message = await _next_part(receive)
        parts += message.get("body", b"")
        _bounded(parts)
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
    if message is not None:
        await respond_with(send, status, orjson.dumps(message), headers)
        return
    fixed = [] if status == 204 else [(b"content-length", b"0")]
    fixed.append((b"cache-control", b"no-store"))
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": b""})


async def respond_with(send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """`body` is JSON."""
    fixed = [
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"content-type", b"application/json"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})
