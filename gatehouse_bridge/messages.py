"""What a line says of itself, as far as carrying it needs to know."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

META_VERSION = "io.modelcontextprotocol/protocolVersion"
PARSE_ERROR, INVALID_REQUEST, INTERNAL_ERROR = -32700, -32600, -32603


class Unreadable(Exception):
    """The line is no JSON-RPC message; `code` is what its sender is told."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Message:
    """`line` is what was sent and what is passed on. `expected` are the ids that must be answered, as JSON."""

    line: bytes = field(repr=False)
    method: str = ""
    id: Any = None
    params: dict[str, Any] = field(default_factory=dict, repr=False)
    expected: frozenset[str] = frozenset()

    @property
    def is_request(self) -> bool:
        return bool(self.expected)

    @property
    def revision(self) -> str:
        """Of 2026-07-28 on each request names its own; empty for the revisions before."""
        meta = self.params.get("_meta")
        named = meta.get(META_VERSION) if isinstance(meta, dict) else None
        return named if isinstance(named, str) else ""


def read_message(line: bytes) -> Message:
    """Raises Unreadable."""
    content = parsed(line)
    if content is None:
        raise Unreadable(PARSE_ERROR, "This line is not JSON.")
    if isinstance(content, list):
        return Message(line, expected=frozenset(id_of(each) for each in content if _is_request(each)))
    if not isinstance(content, dict):
        raise Unreadable(INVALID_REQUEST, "This line is not a JSON-RPC message.")
    method, params = content.get("method"), content.get("params")
    return Message(
        line,
        method if isinstance(method, str) else "",
        content.get("id"),
        params if isinstance(params, dict) else {},
        frozenset((id_of(content),)) if _is_request(content) else frozenset(),
    )


def parsed(text: bytes) -> Any:
    """None for what is no JSON, and for nesting that no reader should follow."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def answers_in(content: Any) -> frozenset[str]:
    """The ids that this answers: of one answer, of a batch of them, or none."""
    members = content if isinstance(content, list) else [content]
    return frozenset(
        id_of(each)
        for each in members
        if isinstance(each, dict) and "method" not in each and each.get("id") is not None
    )


def error_line(identifier: Any, code: int, text: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": identifier, "error": {"code": code, "message": text}}).encode()


def id_of(content: Any) -> str:
    return json.dumps(content.get("id"))


def _is_request(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("method"), str) and content.get("id") is not None
