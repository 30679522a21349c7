"""MCP as its client speaks it, whatever carries the messages: revisions, requests, answers.

How the parts above a transport fit together: a transport is a `Channel`. `mcp_settle` finds out by it how the upstream
wants to be spoken to, `mcp_rounds.converse` takes one governed request through it to its final answer (questions back,
tasks), `mcp_lists` reads all pages of a list. A `Talk` (`mcp_talk`) is what the upstream says while one of our requests
runs. Transports that carry everything over one stream in each direction (stdio, the old HTTP+SSE) find out by a
`Switchboard` (`mcp_switchboard`) what belongs to which request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final, Protocol, TypeGuard

import orjson

from connectors.base import HeaderLines, NotAnswered, Question, UpstreamFailure, header_lines
from connectors.json_depth import is_too_deep
from connectors.mcp_talk import Talk
from connectors.values import per_call

MODERN: Final = "2026-07-28"
LEGACY: Final = ("2025-11-25", "2025-06-18", "2025-03-26")
OLDEST: Final = "2024-11-05"
"""Spoken by stdio servers and over HTTP+SSE only."""
CLIENT_INFO: Final = {"name": "gatehouse", "version": "1"}

METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
RESOURCE_NOT_FOUND: Final = -32002
HEADER_MISMATCH: Final = -32020
MISSING_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022
URL_ELICITATION_REQUIRED: Final = -32042
MODERN_ERRORS: Final = frozenset((HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION))

RESUMED: Final = frozenset(("inputResponses", "requestState"))
TASK_TTL_MS: Final = 3_600_000
_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
_CLIENT: Final = "io.modelcontextprotocol/clientInfo"
_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
_LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"


@dataclass(frozen=True)
class Wire:
    """How to speak to one upstream, settled once: revision, session (legacy HTTP), and what it said of itself."""

    version: str
    session_id: str | None = field(default=None, repr=False)
    server: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def is_modern(self) -> bool:
        return self.version == MODERN

    @cached_property
    def lines(self) -> HeaderLines:
        """The headers of each POST. Raises UpstreamFailure (`bad_request`)."""
        return header_lines((("Content-Type", "application/json"), *self.headers))

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Those of any request over HTTP."""
        session = [("Mcp-Session-Id", self.session_id)] if self.session_id is not None else []
        return [("MCP-Protocol-Version", self.version), *session]

    def offers(self, *path: str) -> bool:
        """Whether the upstream declared the capability, as in `offers("tools", "listChanged")`."""
        node: Any = self.server.get("capabilities")
        for name in path:
            node = node.get(name) if isinstance(node, Mapping) else None
        return node is not None and node is not False

    @property
    def takes_tasks(self) -> bool:
        """Whether a legacy upstream runs tools as tasks when asked to."""
        return self.version == LEGACY[0] and self.offers("tasks", "requests", "tools", "call")

    def lacks(self, capability: str) -> bool:
        """Whether the upstream told its capabilities, and this is none of them."""
        return "capabilities" in self.server and not self.offers(capability)


@per_call
class Request:
    """One JSON-RPC request or (for `notifications/...`) notification. `name` is what `Mcp-Name` mirrors; after
    `send_before_ns` (CLOCK_BOOTTIME) it is not sent any more. `resumed` answers a modern upstream's `input_required`;
    `seconds` is the time for the answer where that is not the usual."""

    method: str
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    name: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)
    send_before_ns: int | None = None
    resumed: Mapping[str, Any] = field(default_factory=dict, repr=False)
    seconds: float | None = None

    @staticmethod
    def of(question: Question) -> "Request":
        params = {name: orjson.Fragment(value) for name, value in question.params.items()}
        request = Request(question.method, params, question.name, question.meta, question.send_before_ns)
        if RESUMED.isdisjoint(params):
            return request
        return replace(request, resumed={name: params.pop(name) for name in RESUMED if name in params})

    def as_task(self) -> "Request":
        """The same, to be run as a task by a legacy upstream."""
        return replace(self, params={**self.params, "task": {"ttl": TASK_TTL_MS}})


@per_call
class Reply:
    """An answer that is the transport's to judge no more: `message` is our JSON-RPC response, None where there was
    none; `wire` is what the request was sent by. `status` and `session_id` are HTTP's."""

    wire: Wire
    message: dict[str, Any] | None
    size_bytes: int
    status: int = 200
    session_id: str | None = None

    @property
    def error_code(self) -> object:
        error = self.message.get("error") if self.message else None
        return error.get("code") if error else None


class Channel(Protocol):
    """One upstream in reach of a transport."""

    async def settled(self) -> Wire:
        """How to speak to it; found out by the first who asks. Raises UpstreamFailure."""

    async def exchange(self, request: Request, talk: Talk) -> Reply:
        """One request and its answer. Repeated only where the upstream said that it did not take it. When nobody
        waits any more or time is up, the upstream is told to stop. Raises UpstreamFailure."""

    def cancel_task(self, task_id: str) -> None:
        """Tells the upstream in the background that nobody waits for its task."""


def encode(wire: Wire, request: Request, *, request_id: int, talk: Talk) -> bytes:
    """A request as the revision wants it."""
    meta: dict[str, Any] = {**request.meta}
    params = {**request.params}
    if talk.wants_progress:
        meta["progressToken"] = request_id
    if wire.is_modern:
        meta[_VERSION] = MODERN
        meta[_CLIENT] = CLIENT_INFO
        meta[_CAPABILITIES] = talk.capabilities
        if talk.log_level:
            meta[_LOG_LEVEL] = talk.log_level
        params.update(request.resumed)
    if meta:
        params["_meta"] = meta
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "method": request.method, "params": params})


def encode_notice(request: Request) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "method": request.method, "params": request.params})


def decoded(document: bytes) -> dict[str, Any]:
    """One message of an upstream. Raises UpstreamFailure (`bad_answer`)."""
    try:
        message = orjson.loads(document)
    except orjson.JSONDecodeError:
        raise bad_answer("The upstream's answer is not valid JSON.") from None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise bad_answer("The upstream's answer is not a JSON-RPC message.")
    if is_too_deep(document, message):
        raise bad_answer("The upstream's answer is nested too deeply.")
    return message


def matched(message: dict[str, Any], request_id: int) -> dict[str, Any]:
    """The message, if it is a response to this request and a proper one. Raises UpstreamFailure (`bad_answer`)."""
    answer_id = message.get("id")
    if type(answer_id) is not int or answer_id != request_id:
        raise bad_answer("The upstream answered another request than ours.")
    has_result = isinstance(message.get("result"), dict)
    if has_result == is_error(message.get("error")) or ("result" in message and "error" in message):
        raise bad_answer("The upstream's answer is not a JSON-RPC response.")
    return message


def is_error(error: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(error, dict) and type(error.get("code")) is int and isinstance(error.get("message"), str)


def bad_answer(message: str) -> UpstreamFailure:
    return UpstreamFailure("bad_answer", message, reached=True)


def status_failure(status: int) -> UpstreamFailure:
    """What an HTTP status without a JSON-RPC answer means."""
    if 300 <= status < 400:
        return UpstreamFailure("redirected", "The upstream tried to redirect the request elsewhere.", reached=True)
    if status in (401, 403):
        return UpstreamFailure("upstream_auth", f"The upstream refused our secret (HTTP {status}).", reached=True)
    return UpstreamFailure("upstream_status", f"The upstream answered with HTTP status {status}.", reached=True)


def not_answered(refusal: NotAnswered) -> UpstreamFailure:
    return UpstreamFailure(
        "not_answered", f"The upstream asked for something and did not get it: {refusal.message}", reached=True
    )


def leaves_work_behind(broken: BaseException) -> bool:
    """Whether the upstream may still be busy with a request nobody waits for."""
    return not isinstance(broken, UpstreamFailure) or (broken.reached and broken.code in ("timeout", "too_large"))
