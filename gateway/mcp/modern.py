"""Revision 2026-07-28: every request is independent and says in `_meta` and headers what it is."""

from collections.abc import Iterable, Mapping
from typing import Any

from connectors.mcp_headers import decode_value
from gateway.mcp.errors import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MISSING_CAPABILITY,
    UNSUPPORTED_VERSION,
    ProtocolError,
)
from gateway.mcp.http import Request
from gateway.mcp.message import Message
from gateway.mcp.methods import Method, find
from gateway.mcp.revisions import (
    LOG_LEVELS,
    META_CAPABILITIES,
    META_LOG_LEVEL,
    META_VERSION,
    MODERN,
    SUPPORTED,
)


def check(request: Request, message: Message) -> Method:
    """The ladder of a request, in the specification's order; raises ProtocolError at the first step it fails.

    What `Mcp-Param-*` headers must say is only known with the tool: `mirrored.py` goes on.
    """
    _check_meta(message)
    method = find(message.method, MODERN)
    _check_headers(request, message, method)
    version = message.meta[META_VERSION]
    if version != MODERN:
        data = {"supported": list(SUPPORTED), "requested": version}
        raise ProtocolError(UNSUPPORTED_VERSION, f"Unsupported protocol version: {version[:40]}", data=data)
    if method is None:
        raise ProtocolError(METHOD_NOT_FOUND, f"Method not found: {message.method[:100]}", status=404)
    return method


def check_needs(method: Method, capabilities: Mapping[str, Any]) -> None:
    """Raises ProtocolError -32021 when the client did not declare what this method cannot do without."""
    if not declares(capabilities, method.needs):
        required: dict[str, Any] = {}
        for name in reversed(method.needs):
            required = {name: required}
        data = {"requiredCapabilities": required}
        raise ProtocolError(MISSING_CAPABILITY, f"{method.name} needs a client capability.", data=data)


def declares(capabilities: Mapping[str, Any], path: Iterable[str]) -> bool:
    declared: Any = capabilities
    for name in path:
        declared = declared.get(name) if isinstance(declared, Mapping) else None
    return declared is not None


def log_level_of(message: Message) -> str:
    """Empty when the request wants no log messages. Raises ProtocolError."""
    level = message.meta.get(META_LOG_LEVEL)
    if level is None:
        return ""
    if level not in LOG_LEVELS:
        raise ProtocolError(INVALID_PARAMS, f"'{META_LOG_LEVEL}' must be one of {', '.join(LOG_LEVELS)}.")
    return str(level)


def _check_meta(message: Message) -> None:
    if not isinstance(message.meta.get(META_VERSION), str):
        raise ProtocolError(INVALID_PARAMS, f"'_meta' must name '{META_VERSION}'.")
    if not isinstance(message.meta.get(META_CAPABILITIES), dict):
        raise ProtocolError(INVALID_PARAMS, f"'_meta' must hold '{META_CAPABILITIES}' (an object, may be empty).")


def _check_headers(request: Request, message: Message, method: Method | None) -> None:
    """Headers route, the body acts: where they disagree somebody on the way would be deceived."""
    _must_equal("MCP-Protocol-Version", request.version, message.meta[META_VERSION])
    _must_equal("Mcp-Method", request.text(b"mcp-method"), message.method)
    if method is not None and method.named_by:
        named = message.params.get(method.named_by)
        if not isinstance(named, str):
            raise ProtocolError(INVALID_PARAMS, f"'{method.named_by}' must be a string.")
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
