"""The JSON-RPC envelope, the same in every revision."""

from dataclasses import dataclass, field
from typing import Any

from gateway.mcp.errors import INVALID_REQUEST, PARSE_ERROR, ProtocolError
from governance import canonical

TRACE_KEYS = ("traceparent", "tracestate", "baggage")
TRACE_LIMIT = 512
META = "_meta"


@dataclass(frozen=True, slots=True)
class Message:
    """A request (with id) or a notification (without). Responses of a client have no method."""

    method: str
    id: str | int | None
    params: dict[str, Any] = field(repr=False)

    @property
    def is_notification(self) -> bool:
        return self.id is None

    @property
    def meta(self) -> dict[str, Any]:
        meta = self.params.get(META)
        return meta if isinstance(meta, dict) else {}

    @property
    def trace(self) -> dict[str, str]:
        """W3C trace context, bounded; all other `_meta` stays here."""
        meta = self.meta
        values = {key: meta[key] for key in TRACE_KEYS if isinstance(meta.get(key), str)}
        return {key: value for key, value in values.items() if len(value) <= TRACE_LIMIT}


def parse_message(body: bytes) -> Message:
    """Raises ProtocolError: -32700 for what is no strict JSON, -32600 for what is no single request."""
    try:
        raw = canonical.parse(body)
    except canonical.NotCanonical as error:
        raise ProtocolError(PARSE_ERROR, f"Not acceptable JSON: {error}") from error
    if isinstance(raw, list):
        raise ProtocolError(INVALID_REQUEST, "Batches are not accepted; send one message per request.")
    if not isinstance(raw, dict) or raw.get("jsonrpc") != "2.0":
        raise ProtocolError(INVALID_REQUEST, "Expected one JSON-RPC 2.0 object.")
    return _message(raw)


def _message(raw: dict[str, Any]) -> Message:
    message_id = raw.get("id")
    is_valid_id = isinstance(message_id, str | int) and not isinstance(message_id, bool)
    if "id" in raw and not is_valid_id:
        raise ProtocolError(INVALID_REQUEST, "'id' must be a string or an integer.")
    if "method" not in raw and ("result" in raw or "error" in raw):
        return Message("", None, {})
    if not isinstance(raw.get("method"), str):
        raise ProtocolError(INVALID_REQUEST, "'method' must be a string.")
    params = raw.get("params", {})
    if not isinstance(params, dict):
        raise ProtocolError(INVALID_REQUEST, "'params' must be an object.")
    return Message(raw["method"], message_id, params)
