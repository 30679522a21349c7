"""Revisions up to 2025-11-25: a handshake, then requests that name their version in a header.

No session id is handed out, so any process can serve any request (sessions are optional, transports, "Session
Management").
"""

from typing import Any

from gateway.call import Answer
from gateway.mcp.errors import METHOD_NOT_FOUND, ProtocolError
from gateway.mcp.message import Message
from gateway.mcp.revisions import (
    CAPABILITIES,
    INSTRUCTIONS,
    LEGACY,
    META_PREFIX,
    NEWEST_LEGACY,
    OLDEST_LEGACY,
    SERVER_INFO,
)

MODERN_ONLY = ("resultType", "ttlMs", "cacheScope")


def version_of(header: str) -> str:
    """The version a request is in; clients of before 2025-06-18 send no header."""
    return header or OLDEST_LEGACY


def initialize(message: Message) -> Answer:
    asked = message.params.get("protocolVersion")
    return Answer(
        result={
            "protocolVersion": asked if asked in LEGACY else NEWEST_LEGACY,
            "capabilities": CAPABILITIES,
            "serverInfo": SERVER_INFO,
            "instructions": INSTRUCTIONS,
        }
    )


def ping(message: Message) -> Answer:
    return Answer(result={})


ANSWERS = {"initialize": initialize, "ping": ping}
"""Methods that disclose nothing governed, so nothing is decided or recorded."""


def check(message: Message) -> None:
    """Raises ProtocolError for a method we do not carry; JSON-RPC errors are HTTP 200 in this era."""
    if message.method not in (*ANSWERS, "tools/list", "tools/call"):
        raise ProtocolError(METHOD_NOT_FOUND, f"Method not found: {message.method[:100]}", status=200)


def dress(result: dict[str, Any]) -> dict[str, Any]:
    """A result without what only the modern era knows."""
    plain = {key: value for key, value in result.items() if key not in MODERN_ONLY}
    meta = plain.get("_meta")
    if isinstance(meta, dict):
        kept = {key: value for key, value in meta.items() if not key.startswith(META_PREFIX)}
        plain.pop("_meta")
        if kept:
            plain["_meta"] = kept
    return plain


def dress_list(tools: list[dict[str, Any]]) -> dict[str, Any]:
    return {"tools": tools}
