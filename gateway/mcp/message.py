"""The JSON-RPC envelope, the same in every revision."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from gateway.mcp.errors import INVALID_REQUEST, PARSE_ERROR, ProtocolError
from gateway.values import per_call
from governance import canonical

TRACE_KEYS = ("traceparent", "tracestate", "baggage")
TRACE_LIMIT = 512
META = "_meta"
NO_META: Mapping[str, Any] = {}


@per_call
class Message:
    """A request (with id), a notification (without), or a client's response to a request of ours (`reply`)."""

    method: str
    id: str | int | None
    params: dict[str, Any] = field(repr=False)
    reply: dict[str, Any] | None = field(default=None, repr=False)
    meta: Mapping[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        meta = self.params.get(META)
        object.__setattr__(self, "meta", meta if isinstance(meta, dict) else NO_META)

    @property
    def is_notification(self) -> bool:
        return self.id is None

    @property
    def progress_token(self) -> str | int | None:
        token = self.meta.get("progressToken")
        return token if isinstance(token, str | int) and not isinstance(token, bool) else None

    @property
    def trace(self) -> dict[str, str]:
        """W3C trace context, bounded; all other `_meta` stays here."""
        meta = self.meta
        if meta is NO_META:
            return {}
        values = {key: meta[key] for key in TRACE_KEYS if isinstance(meta.get(key), str)}
        return {key: value for key, value in values.items() if len(value) <= TRACE_LIMIT}


def parse_message(body: bytes) -> Message | list[Any]:
    """One message, or the raw members of a batch. Raises ProtocolError: -32700 for what is no strict JSON, -32600 for
    what is no message."""
    try:
        raw = canonical.parse(body)
    except canonical.NotCanonical as error:
        raise ProtocolError(PARSE_ERROR, f"Not acceptable JSON: {error}") from error
    return raw if isinstance(raw, list) else read_message(raw)


def read_message(raw: Any) -> Message:
    """Raises ProtocolError -32600."""
    if not isinstance(raw, dict) or raw.get("jsonrpc") != "2.0":
        raise ProtocolError(INVALID_REQUEST, "Expected one JSON-RPC 2.0 object.")
    message_id = raw.get("id")
    is_valid_id = isinstance(message_id, str | int) and not isinstance(message_id, bool)
    if "id" in raw and not is_valid_id:
        raise ProtocolError(INVALID_REQUEST, "'id' must be a string or an integer.")
    if "method" not in raw and ("result" in raw or "error" in raw):
        return Message("", None, {}, raw)
    if not isinstance(raw.get("method"), str):
        raise ProtocolError(INVALID_REQUEST, "'method' must be a string.")
    params = raw.get("params", {})
    if not isinstance(params, dict):
        raise ProtocolError(INVALID_REQUEST, "'params' must be an object.")
    return Message(raw["method"], message_id, params)
