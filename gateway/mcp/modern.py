"""Revision 2026-07-28: every request is independent and says in `_meta` and headers what it is."""

from typing import Any

from connectors.mcp_headers import decode_value
from gateway.call import Answer
from gateway.mcp.errors import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    UNSUPPORTED_VERSION,
    ProtocolError,
)
from gateway.mcp.http import Request
from gateway.mcp.message import Message
from gateway.mcp.revisions import (
    CAPABILITIES,
    INSTRUCTIONS,
    META_CAPABILITIES,
    META_SERVER,
    META_VERSION,
    MODERN,
    SERVER_INFO,
    SUPPORTED,
)

LIST_TTL_MS = 30_000
DISCOVER_TTL_MS = 300_000
METHODS = ("server/discover", "tools/list", "tools/call")
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


def check(request: Request, message: Message) -> None:
    """The ladder of a request, in the specification's order; raises ProtocolError at the first step it fails."""
    _check_meta(message)
    _check_headers(request, message)
    version = message.meta[META_VERSION]
    if version != MODERN:
        data = {"supported": list(SUPPORTED), "requested": version}
        raise ProtocolError(UNSUPPORTED_VERSION, f"Unsupported protocol version: {version[:40]}", data=data)
    if message.method not in METHODS:
        raise ProtocolError(METHOD_NOT_FOUND, f"Method not found: {message.method[:100]}", status=404)


def _check_meta(message: Message) -> None:
    if not isinstance(message.meta.get(META_VERSION), str):
        raise ProtocolError(INVALID_PARAMS, f"'_meta' must name '{META_VERSION}'.")
    if not isinstance(message.meta.get(META_CAPABILITIES), dict):
        raise ProtocolError(INVALID_PARAMS, f"'_meta' must hold '{META_CAPABILITIES}' (an object, may be empty).")


def _check_headers(request: Request, message: Message) -> None:
    """Headers route, the body acts: where they disagree somebody on the way would be deceived."""
    _must_equal("MCP-Protocol-Version", request.text(b"mcp-protocol-version"), message.meta[META_VERSION])
    _must_equal("Mcp-Method", request.text(b"mcp-method"), message.method)
    if field := NAMED.get(message.method):
        named = message.params.get(field)
        if not isinstance(named, str):
            raise ProtocolError(INVALID_PARAMS, f"'{field}' must be a string.")
        _must_equal("Mcp-Name", decode_header(request.text(b"mcp-name")), named)


def _must_equal(header: str, sent: str, expected: str) -> None:
    if sent != expected:
        problem = "is missing" if not sent else "does not match the body"
        raise ProtocolError(HEADER_MISMATCH, f"Header {header} {problem}.")


def decode_header(value: str) -> str:
    """Raises ProtocolError for what is neither plain ASCII nor canonical base64 of UTF-8."""
    try:
        if value.isascii():
            return decode_value(value)
    except ValueError:
        pass
    raise ProtocolError(HEADER_MISMATCH, "Header values must be plain ASCII or base64 of UTF-8.")


def discover() -> Answer:
    return Answer(
        result={
            "supportedVersions": list(SUPPORTED),
            "capabilities": CAPABILITIES,
            "instructions": INSTRUCTIONS,
            "serverInfo": SERVER_INFO,
            "ttlMs": DISCOVER_TTL_MS,
            "cacheScope": "private",
        }
    )


def dress(result: dict[str, Any]) -> dict[str, Any]:
    """A result as this revision wants it: complete, and naming us as the server."""
    meta = result.get("_meta")
    named = {**meta, META_SERVER: SERVER_INFO} if isinstance(meta, dict) else {META_SERVER: SERVER_INFO}
    return {**result, "resultType": "complete", "_meta": named}


def dress_list(tools: list[dict[str, Any]]) -> dict[str, Any]:
    """`private`: the list is filtered for this agent, nobody else may be served it from a cache."""
    return {"tools": tools, "ttlMs": LIST_TTL_MS, "cacheScope": "private"}
