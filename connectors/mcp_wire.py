"""MCP on the wire, seen from the client: the revisions, what a request looks like in each, and reading one
answer."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from connectors.base import UpstreamFailure
from connectors.http1 import Answer
from connectors.json_depth import is_too_deep
from connectors.mcp_headers import encode_value
from connectors.sse import SseOverflow, SseReader

MODERN: Final = "2026-07-28"
LEGACY: Final = ("2025-11-25", "2025-06-18", "2025-03-26")
CLIENT_INFO: Final = {"name": "gatehouse", "version": "1"}

HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022
METHOD_NOT_FOUND: Final = -32601
MODERN_ERRORS: Final = frozenset((HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION))

SERVER_REQUESTS_PER_STREAM: Final = 16
_ERROR_BODY_BYTES: Final = 64 * 1024
_MODERN_META: Final = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": CLIENT_INFO,
    "io.modelcontextprotocol/clientCapabilities": {},
}


@dataclass(frozen=True, slots=True)
class Wire:
    """How to speak to one upstream, settled once: revision, session (legacy), and what it said of itself."""

    version: str
    session_id: str | None = field(default=None, repr=False)
    server: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_modern(self) -> bool:
        return self.version == MODERN


@dataclass(frozen=True, slots=True)
class Request:
    """One JSON-RPC request or (for `notifications/...`) notification. `name` is what `Mcp-Name` mirrors;
    after `send_before_ns` (CLOCK_BOOTTIME) it is not sent any more."""

    method: str
    params: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None
    meta: Mapping[str, str] = field(default_factory=dict)
    send_before_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is HTTP's to judge no more: `message` is our JSON-RPC response, None where there was
    none."""

    status: int
    message: dict[str, Any] | None
    session_id: str | None
    size_bytes: int

    @property
    def error_code(self) -> object:
        error = self.message.get("error") if self.message else None
        return error.get("code") if error else None


def encode_request(wire: Wire, request: Request, *, request_id: int | None) -> bytes:
    """The body; without an id it is a notification."""
    meta = {**request.meta, **_MODERN_META} if wire.is_modern else request.meta
    params = {**request.params, "_meta": meta} if meta else request.params
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": request.method, "params": params}
    if request_id is not None:
        message["id"] = request_id
    return orjson.dumps(message)


def protocol_headers(wire: Wire, request: Request) -> list[tuple[str, str]]:
    """The headers the revision wants on a request, apart from the upstream's secret."""
    headers = [("Content-Type", "application/json"), ("MCP-Protocol-Version", wire.version)]
    if wire.session_id is not None:
        headers.append(("Mcp-Session-Id", wire.session_id))
    if wire.is_modern:
        headers.append(("Mcp-Method", request.method))
        if request.name is not None:
            headers.append(("Mcp-Name", encode_value(request.name)))
    return headers


def refusal_of(message: Mapping[str, Any]) -> bytes:
    """Our answer to a request an upstream sends us: we declared no capability, so only `ping` is served."""
    answer: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
    if message["method"] == "ping":
        answer["result"] = {}
    else:
        answer["error"] = {"code": METHOD_NOT_FOUND, "message": "Method not found"}
    return orjson.dumps(answer)


def bad_answer(message: str) -> UpstreamFailure:
    return UpstreamFailure("bad_answer", message, reached=True)


def status_failure(status: int) -> UpstreamFailure:
    """What an HTTP status without a JSON-RPC answer means."""
    if 300 <= status < 400:
        return UpstreamFailure("redirected", "The upstream tried to redirect the request elsewhere.", reached=True)
    if status in (401, 403):
        return UpstreamFailure("upstream_auth", f"The upstream refused our secret (HTTP {status}).", reached=True)
    return UpstreamFailure("upstream_status", f"The upstream answered with HTTP status {status}.", reached=True)


class ReplyReader:
    """Reads the answer to one request, as JSON or as an event stream, and nothing beyond its bounds."""

    __slots__ = ("_answer_server", "_max_bytes", "_request_id", "_server_requests", "_size_bytes")

    def __init__(
        self,
        request_id: int | None,
        *,
        max_bytes: int,
        answer_server: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> None:
        self._request_id = request_id
        self._max_bytes = max_bytes
        self._answer_server = answer_server
        self._server_requests = 0
        self._size_bytes = 0

    async def __call__(self, answer: Answer) -> Reply:
        """Raises UpstreamFailure for every answer that is neither our response nor a plain 4xx."""
        status = answer.status
        if 300 <= status < 400 or status in (401, 403, 429) or status >= 500:
            raise status_failure(status)
        message = None
        if self._request_id is not None:
            message = await (self._response(answer) if status < 300 else self._error(answer))
        return Reply(status, message, answer.headers.get("mcp-session-id"), self._size_bytes)

    async def _response(self, answer: Answer) -> dict[str, Any]:
        kind = _content_type(answer)
        if kind == "application/json":
            return self._matched(_decoded(await self._body(answer)))
        if kind == "text/event-stream":
            return await self._from_events(answer)
        raise bad_answer("The upstream answered with neither JSON nor an event stream.")

    async def _error(self, answer: Answer) -> dict[str, Any] | None:
        """The JSON-RPC error in a 4xx, if it is one: other programs than MCP servers answer 4xx too."""
        if _content_type(answer) != "application/json":
            return None
        self._max_bytes = min(self._max_bytes, _ERROR_BODY_BYTES)
        try:
            message = _decoded(await self._body(answer))
        except UpstreamFailure as failure:
            if failure.code in ("bad_answer", "too_large"):
                return None
            raise
        is_ours = message.get("id") in (self._request_id, None) and _is_error(message.get("error"))
        return message if is_ours else None

    async def _body(self, answer: Answer) -> bytes:
        pieces = []
        while (piece := await answer.chunk()) is not None:
            self._count(piece)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _from_events(self, answer: Answer) -> dict[str, Any]:
        events = SseReader(max_event_bytes=self._max_bytes)
        while (piece := await answer.chunk()) is not None:
            self._count(piece)
            try:
                payloads = events.feed(piece)
            except SseOverflow:
                raise _too_large() from None
            for payload in payloads:
                message = _decoded(payload)
                if "method" not in message:
                    return self._matched(message)
                await self._heed(message)
        raise bad_answer("The upstream's event stream ended without an answer.")

    async def _heed(self, message: dict[str, Any]) -> None:
        """Notifications pass unheard; a request from the upstream is refused, a flood of them ends the
        call."""
        if self._answer_server is None or not isinstance(message.get("id"), str | int):
            return
        self._server_requests += 1
        if self._server_requests > SERVER_REQUESTS_PER_STREAM:
            raise bad_answer("The upstream asks us more than it answers.")
        await self._answer_server(refusal_of(message))

    def _matched(self, message: dict[str, Any]) -> dict[str, Any]:
        answer_id = message.get("id")
        if type(answer_id) is not int or answer_id != self._request_id:
            raise bad_answer("The upstream answered another request than ours.")
        has_result = isinstance(message.get("result"), dict)
        if has_result == _is_error(message.get("error")) or ("result" in message and "error" in message):
            raise bad_answer("The upstream's answer is not a JSON-RPC response.")
        return message

    def _count(self, piece: bytes) -> None:
        self._size_bytes += len(piece)
        if self._size_bytes > self._max_bytes:
            raise _too_large()


def _content_type(answer: Answer) -> str:
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise bad_answer("The upstream compressed its answer although asked not to.")
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower()


def _decoded(document: bytes) -> dict[str, Any]:
    try:
        message = orjson.loads(document)
    except orjson.JSONDecodeError:
        raise bad_answer("The upstream's answer is not valid JSON.") from None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise bad_answer("The upstream's answer is not a JSON-RPC message.")
    if is_too_deep(document):
        raise bad_answer("The upstream's answer is nested too deeply.")
    return message


def _is_error(error: object) -> bool:
    return isinstance(error, dict) and type(error.get("code")) is int and isinstance(error.get("message"), str)


def _too_large() -> UpstreamFailure:
    return UpstreamFailure("too_large", "The upstream's answer is larger than the connector allows.", reached=True)
