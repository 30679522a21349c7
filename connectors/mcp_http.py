"""MCP servers over streamable HTTP, modern (2026-07-28) and legacy, as upstreams."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import orjson

from connectors.base import Discovery, RawResult, UpstreamAuth, UpstreamFailure, UpstreamSpec
from connectors.egress import Egress
from connectors.mcp_headers import InvalidAnnotation, ParamHeader, header_lines, param_headers
from connectors.mcp_wire import (
    CLIENT_INFO,
    HEADER_MISMATCH,
    LEGACY,
    MODERN,
    MODERN_ERRORS,
    UNSUPPORTED_VERSION,
    Reply,
    ReplyReader,
    Request,
    Wire,
    bad_answer,
    encode_request,
    protocol_headers,
    status_failure,
)

T = TypeVar("T")
Headers = Sequence[tuple[str, str]]

MAX_PAGES: Final = 100
MAX_TOOLS: Final = 5_000
MAX_CATALOG_BYTES: Final = 32 * 1024 * 1024
MAX_LINES: Final = 4_096
CANCEL_SECONDS: Final = 2.0

_DISCOVER: Final = Request("server/discover")
_INITIALIZE: Final = Request(
    "initialize", {"protocolVersion": LEGACY[0], "capabilities": {}, "clientInfo": CLIENT_INFO}
)
_INITIALIZED: Final = Request("notifications/initialized")
_SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"


class Line:
    """What is remembered of one upstream URL for one identity: sessions are never shared across secrets."""

    __slots__ = ("catalogue_lock", "lock", "param_headers", "spec", "url", "wire")

    def __init__(self, spec: UpstreamSpec, url: str) -> None:
        self.spec = spec
        self.url = url
        self.wire: Wire | None = None
        self.param_headers: dict[str, tuple[ParamHeader, ...]] | None = None
        self.lock = asyncio.Lock()
        self.catalogue_lock = asyncio.Lock()


class McpHttp:
    """The connector of kind `mcp`."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._lines: dict[tuple[str, str, str, str], Line] = {}
        self._legacy_urls: set[str] = set()
        self._request_ids = itertools.count(1)
        self._cancellations: set[asyncio.Task[None]] = set()

    # -- the Connector protocol

    async def discover(self, spec: UpstreamSpec, auth: UpstreamAuth) -> Discovery:
        async def list_all(line: Line) -> Discovery:
            tools = await self._load_tools(line, auth)
            wire = await self._settled(line, auth)
            return Discovery(tools=tools, server=wire.server, protocol_version=wire.version)

        return await self._on_first_reachable(spec, auth, list_all)

    async def call_tool(
        self,
        spec: UpstreamSpec,
        auth: UpstreamAuth,
        *,
        name: str,
        arguments: bytes,
        meta: Mapping[str, str],
        send_before_ns: int | None = None,
    ) -> RawResult:
        params = {"name": name, "arguments": orjson.Fragment(arguments)}
        request = Request("tools/call", params, name, meta, send_before_ns)

        async def call(line: Line) -> RawResult:
            return await self._ask(line, auth, request, arguments=arguments)

        return await self._on_first_reachable(spec, auth, call)

    async def request(self, spec: UpstreamSpec, auth: UpstreamAuth, request: Request) -> RawResult:
        """Any other method, with the same guarantees as `call_tool`."""
        return await self._on_first_reachable(spec, auth, lambda line: self._ask(line, auth, request))

    async def forget(self, connector_ids: Sequence[str]) -> None:
        for key in [key for key in self._lines if key[0] in connector_ids]:
            line = self._lines.pop(key)
            self._legacy_urls.discard(line.url)
            self._egress.forget(line.url)

    async def close(self) -> None:
        self._lines.clear()
        for task in tuple(self._cancellations):
            task.cancel()
        await asyncio.gather(*self._cancellations, return_exceptions=True)
        self._egress.close()

    # -- choosing a line

    async def _on_first_reachable(
        self, spec: UpstreamSpec, auth: UpstreamAuth, act: Callable[[Line], Awaitable[T]]
    ) -> T:
        """Tries the upstream's addresses in order, going on only while surely nothing has arrived."""
        for url in spec.urls[:-1]:
            try:
                return await act(self._line(spec, auth, url))
            except UpstreamFailure as failure:
                if failure.code != "connect_failed" or failure.reached:
                    raise
        return await act(self._line(spec, auth, spec.urls[-1]))

    def _line(self, spec: UpstreamSpec, auth: UpstreamAuth, url: str) -> Line:
        key = (spec.connector_id, spec.revision, auth.identity, url)
        line = self._lines.get(key)
        if line is None:
            if len(self._lines) >= MAX_LINES:
                del self._lines[next(iter(self._lines))]
            line = self._lines[key] = Line(spec, url)
        return line

    # -- one request

    async def _ask(self, line: Line, auth: UpstreamAuth, request: Request, *, arguments: bytes = b"") -> RawResult:
        """Sends the request. It is repeated once, and only when the upstream said that it did not take it:
        the session is gone, the revision is not spoken (any more), a mirrored header is missing."""
        wire, extra = await self._prepared(line, auth, request, arguments)
        started = time.perf_counter()
        reply = await self._exchange(line, auth, wire, request, extra=extra)
        if self._was_not_taken(line, wire, reply):
            wire, extra = await self._prepared(line, auth, request, arguments)
            started = time.perf_counter()
            reply = await self._exchange(line, auth, wire, request, extra=extra)
        return _raw_result(reply, wire, upstream_ms=(time.perf_counter() - started) * 1000)

    async def _prepared(
        self, line: Line, auth: UpstreamAuth, request: Request, arguments: bytes
    ) -> tuple[Wire, Headers]:
        """All that must be known before the request may go; failing here, it was never sent."""
        wire = line.wire
        if wire is not None and not wire.is_modern:
            return wire, ()
        try:
            wire = wire or await self._settled(line, auth)
            if not wire.is_modern or request.method != "tools/call":
                return wire, ()
            if line.param_headers is None:
                await self._load_tools_once(line, auth)
        except UpstreamFailure as failure:
            raise UpstreamFailure(failure.code, failure.message, reached=False) from failure
        mirrored = (line.param_headers or {}).get(request.name or "")
        return wire, header_lines(mirrored, orjson.loads(arguments)) if mirrored else ()

    def _was_not_taken(self, line: Line, wire: Wire, reply: Reply) -> bool:
        if reply.status == 404 and wire.session_id is not None:
            self._hang_up(line, wire)
            return True
        if reply.status == 400 and reply.error_code == HEADER_MISMATCH and wire.is_modern:
            line.param_headers = None
            return True
        if reply.status == 400 and reply.error_code in MODERN_ERRORS:
            self._legacy_urls.discard(line.url)
            self._hang_up(line, wire)
            return True
        if reply.status in (404, 405) and reply.message is None:
            self._legacy_urls.discard(line.url)
            self._hang_up(line, wire)
        return False

    def _hang_up(self, line: Line, wire: Wire) -> None:
        """Forgets the wire unless another call has settled a newer one meanwhile."""
        if line.wire is wire:
            line.wire = None

    async def _exchange(
        self, line: Line, auth: UpstreamAuth, wire: Wire, request: Request, *, extra: Headers = ()
    ) -> Reply:
        request_id = next(self._request_ids)

        async def answer_server(body: bytes) -> None:
            await self._post_quietly(line, auth, wire, body)

        reader = ReplyReader(
            request_id,
            max_bytes=line.spec.max_result_bytes,
            answer_server=None if wire.is_modern else answer_server,
        )
        body = encode_request(wire, request, request_id=request_id)
        headers = [*protocol_headers(wire, request), *extra, *auth.headers]
        try:
            return await self._send(line, headers, body, reader, send_before_ns=request.send_before_ns)
        except (asyncio.CancelledError, UpstreamFailure) as broken:
            if not wire.is_modern and request.method != "initialize" and _leaves_work_behind(broken):
                self._cancel_upstream(line, auth, wire, request_id)
            raise

    async def _send(
        self, line: Line, headers: Headers, body: bytes, reader: ReplyReader, *, send_before_ns: int | None = None
    ) -> Reply:
        return await self._egress.send(
            "POST",
            line.url,
            headers=headers,
            body=body,
            timeout_seconds=line.spec.timeout_seconds,
            read=reader,
            send_before_ns=send_before_ns,
        )

    # -- what we say without expecting an answer

    async def _notify(self, line: Line, auth: UpstreamAuth, wire: Wire, request: Request) -> None:
        headers = [*protocol_headers(wire, request), *auth.headers]
        body = encode_request(wire, request, request_id=None)
        reply = await self._send(line, headers, body, ReplyReader(None, max_bytes=0))
        if reply.status >= 400:
            raise status_failure(reply.status)

    async def _post_quietly(self, line: Line, auth: UpstreamAuth, wire: Wire, body: bytes) -> None:
        """Answers a question of the upstream; if that fails, the stream the question came on tells the
        rest."""
        headers = [*protocol_headers(wire, _INITIALIZED), *auth.headers]
        try:
            await self._send(line, headers, body, ReplyReader(None, max_bytes=0))
        except UpstreamFailure:
            return

    def _cancel_upstream(self, line: Line, auth: UpstreamAuth, wire: Wire, request_id: int) -> None:
        """Closing a legacy stream is not a cancellation (the specification says so): it takes a message,
        sent in the background because our own task is ending. A modern upstream understands the closed
        stream."""
        notice = Request("notifications/cancelled", {"requestId": request_id, "reason": "call ended"})
        task = asyncio.create_task(self._notify_in_time(line, auth, wire, notice))
        self._cancellations.add(task)
        task.add_done_callback(self._cancellations.discard)

    async def _notify_in_time(self, line: Line, auth: UpstreamAuth, wire: Wire, notice: Request) -> None:
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await self._notify(line, auth, wire, notice)
        except (TimeoutError, UpstreamFailure):
            return

    # -- settling how to speak

    async def _settled(self, line: Line, auth: UpstreamAuth) -> Wire:
        """The line's wire; the first caller negotiates it while the others wait."""
        if line.wire is not None:
            return line.wire
        async with line.lock:
            if line.wire is None:
                line.wire = await self._negotiated(line, auth)
            return line.wire

    async def _negotiated(self, line: Line, auth: UpstreamAuth) -> Wire:
        """Modern first, as the specification advises; network errors, 5xx and 401/403 are no verdict and
        propagate."""
        if line.url not in self._legacy_urls:
            wire = await self._probed(line, auth)
            if wire is not None:
                return wire
            self._legacy_urls.add(line.url)
        return await self._initialized(line, auth)

    async def _probed(self, line: Line, auth: UpstreamAuth) -> Wire | None:
        modern = Wire(MODERN)
        try:
            reply = await self._exchange(line, auth, modern, _DISCOVER)
        except UpstreamFailure as failure:
            if failure.code == "bad_answer":
                return None
            raise
        if reply.error_code in MODERN_ERRORS and reply.status == 400:
            return modern if MODERN in _supported_versions(reply) else None
        result = (reply.message or {}).get("result", {})
        versions = result.get("supportedVersions")
        return Wire(MODERN, server=_about(result)) if isinstance(versions, list) and MODERN in versions else None

    async def _initialized(self, line: Line, auth: UpstreamAuth) -> Wire:
        reply = await self._exchange(line, auth, Wire(LEGACY[0]), _INITIALIZE)
        if reply.error_code == UNSUPPORTED_VERSION and MODERN in _supported_versions(reply):
            self._legacy_urls.discard(line.url)
            return Wire(MODERN)
        if reply.message is None:
            raise status_failure(reply.status)
        result = reply.message.get("result", {})
        version = result.get("protocolVersion")
        if version not in LEGACY:
            raise bad_answer("The upstream speaks no revision of MCP that Gatehouse speaks.")
        wire = Wire(version, session_id=reply.session_id, server=_about(result))
        await self._notify(line, auth, wire, _INITIALIZED)
        return wire

    # -- the catalogue

    async def _load_tools(self, line: Line, auth: UpstreamAuth) -> tuple[dict[str, Any], ...]:
        """All pages of tools/list. For a modern upstream it leaves out what the specification forbids a
        client to use (a broken `x-mcp-header`) and remembers which arguments each tool wants mirrored."""
        wire = await self._settled(line, auth)
        if "capabilities" in wire.server and "tools" not in wire.server["capabilities"]:
            line.param_headers = {}
            return ()
        tools = await self._all_pages(line, auth)
        if not (line.wire or wire).is_modern:
            return tuple(tools.values())
        mirrored = _mirrored_arguments(tools)
        line.param_headers = mirrored
        return tuple(tool for name, tool in tools.items() if name in mirrored)

    async def _load_tools_once(self, line: Line, auth: UpstreamAuth) -> None:
        async with line.catalogue_lock:
            if line.param_headers is None:
                await self._load_tools(line, auth)

    async def _all_pages(self, line: Line, auth: UpstreamAuth) -> dict[str, dict[str, Any]]:
        tools: dict[str, dict[str, Any]] = {}
        params: dict[str, str] = {}
        seen: set[str] = set()
        size_bytes = 0
        for _ in range(MAX_PAGES):
            page = await self._ask(line, auth, Request("tools/list", params))
            size_bytes += page.size_bytes
            _collect(tools, page, size_bytes=size_bytes)
            cursor = (page.result or {}).get("nextCursor")
            if cursor is None:
                return tools
            if not isinstance(cursor, str) or cursor in seen:
                raise bad_answer("The upstream's list of tools does not end.")
            seen.add(cursor)
            params = {"cursor": cursor}
        raise UpstreamFailure("too_large", "The upstream's list of tools has too many pages.", reached=True)


def _collect(tools: dict[str, dict[str, Any]], page: RawResult, *, size_bytes: int) -> None:
    listed = page.result.get("tools") if page.result is not None else None
    if not isinstance(listed, list):
        raise bad_answer("The upstream did not list its tools.")
    for tool in listed:
        name = tool.get("name") if isinstance(tool, dict) else None
        if not isinstance(name, str) or not name or name in tools:
            raise bad_answer("The upstream lists a tool without a name, or twice.")
        tools[name] = tool
    if len(tools) > MAX_TOOLS or size_bytes > MAX_CATALOG_BYTES:
        raise UpstreamFailure("too_large", "The upstream lists too many tools.", reached=True)


def _mirrored_arguments(tools: Mapping[str, dict[str, Any]]) -> dict[str, tuple[ParamHeader, ...]]:
    """Per tool that may be used, the arguments to repeat in headers."""
    mirrored = {}
    for name, tool in tools.items():
        try:
            mirrored[name] = param_headers(tool.get("inputSchema"))
        except InvalidAnnotation:
            continue
    return mirrored


def _raw_result(reply: Reply, wire: Wire, *, upstream_ms: float) -> RawResult:
    message = reply.message
    if message is None:
        raise status_failure(reply.status)
    result = message.get("result")
    if wire.is_modern and result is not None and result.get("resultType", "complete") != "complete":
        raise bad_answer("The upstream wants something in return that Gatehouse did not offer.")
    return RawResult(result=result, error=message.get("error"), upstream_ms=upstream_ms, size_bytes=reply.size_bytes)


def _leaves_work_behind(broken: BaseException) -> bool:
    """Whether the upstream may still be busy with a request nobody waits for."""
    return not isinstance(broken, UpstreamFailure) or (broken.reached and broken.code in ("timeout", "too_large"))


def _supported_versions(reply: Reply) -> list[Any]:
    error = (reply.message or {}).get("error") or {}
    supported = error["data"].get("supported") if isinstance(error.get("data"), dict) else None
    return supported if isinstance(supported, list) else [MODERN]


def _about(result: Mapping[str, Any]) -> dict[str, Any]:
    """What an upstream says of itself, in one shape for both eras; display only, nothing here is verified."""
    meta = result.get("_meta")
    info = result.get("serverInfo") or (meta.get(_SERVER_INFO) if isinstance(meta, dict) else None)
    capabilities = result.get("capabilities")
    about = {
        "serverInfo": info if isinstance(info, dict) else {},
        "capabilities": capabilities if isinstance(capabilities, dict) else {},
    }
    if isinstance(result.get("instructions"), str):
        about["instructions"] = result["instructions"]
    return about
