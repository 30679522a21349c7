"""The helpdesk's MCP server as a bare ASGI application: stateless, all revisions from 2025-03-26 to
2026-07-28.

It is an upstream, not a gateway: it trusts its one bearer token and answers in plain JSON.
"""

import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

import orjson

from connectors.demo.helpdesk import Helpdesk, NotPossible
from connectors.demo.tools import BY_NAME, TOOLS, complaint

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MODERN: Final = "2026-07-28"
LEGACY: Final = ("2025-11-25", "2025-06-18", "2025-03-26")
SERVER_INFO: Final = {"name": "gatehouse-demo-helpdesk", "title": "Demo helpdesk", "version": "1.0"}
CAPABILITIES: Final[dict[str, dict[str, Any]]] = {"tools": {}}
INSTRUCTIONS: Final = "A demonstration helpdesk: tickets, knowledge base, orders and refunds. All data is invented."
BODY_BYTES: Final = 1024 * 1024

_META: Final = "io.modelcontextprotocol/"
_PUBLIC: Final = {"ttlMs": 60_000, "cacheScope": "public"}


class RpcError(Exception):
    """Ends a request with a JSON-RPC error."""

    def __init__(self, code: int, message: str, *, status: int = 200, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, **({"data": data} if data else {})}
        self.status = status


class DemoServer:
    """One ASGI application over one helpdesk."""

    def __init__(self, helpdesk: Helpdesk, *, token: str) -> None:
        self._helpdesk = helpdesk
        self._authorization = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            status, message, extra = await self._handle(scope, dict(scope["headers"]), receive)
            await _answer(send, status, message, extra=extra)

    async def _handle(
        self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive
    ) -> tuple[int, dict[str, Any] | None, list[tuple[bytes, bytes]]]:
        if scope["path"] != "/mcp":
            return 404, None, []
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._authorization):
            return 401, None, [(b"www-authenticate", b"Bearer")]
        if scope["method"] != "POST":
            return 405, None, [(b"allow", b"POST")]
        body = await _body(receive)
        return (413, None, []) if body is None else (*self._respond(body, headers), [])

    def _respond(self, body: bytes, headers: Mapping[bytes, bytes]) -> tuple[int, dict[str, Any] | None]:
        try:
            message = orjson.loads(body)
        except orjson.JSONDecodeError:
            return 400, _failed(None, {"code": -32700, "message": "Parse error"})
        if not isinstance(message, dict) or not isinstance(message.get("method"), str):
            return 400, _failed(None, {"code": -32600, "message": "Invalid request"})
        if "id" not in message:
            return 202, None
        try:
            result = self._result(message, headers)
        except RpcError as refused:
            return refused.status, _failed(message["id"], refused.error)
        return 200, {"jsonrpc": "2.0", "id": message["id"], "result": result}

    def _result(self, message: dict[str, Any], headers: Mapping[bytes, bytes]) -> dict[str, Any]:
        params = message.get("params") or {}
        if not isinstance(params, dict):
            raise RpcError(-32602, "params must be an object", status=400)
        if _is_modern(params, headers):
            _check_routing(message["method"], params, headers)
            return {**self._modern(message["method"], params, headers), "resultType": "complete"}
        return self._legacy(message["method"], params, headers)

    def _modern(self, method: str, params: dict[str, Any], headers: Mapping[bytes, bytes]) -> dict[str, Any]:
        about = {"_meta": {f"{_META}serverInfo": SERVER_INFO}}
        if method == "server/discover":
            versions = {"supportedVersions": [MODERN, *LEGACY], "capabilities": CAPABILITIES}
            return {**versions, "instructions": INSTRUCTIONS, **_PUBLIC, **about}
        if method == "tools/list":
            return {"tools": TOOLS, **_PUBLIC, **about}
        if method == "tools/call":
            return {**self._call(params, headers), **about}
        raise RpcError(-32601, "Method not found", status=404)

    def _legacy(self, method: str, params: dict[str, Any], headers: Mapping[bytes, bytes]) -> dict[str, Any]:
        if method == "initialize":
            asked = params.get("protocolVersion")
            version = {
                "protocolVersion": asked if asked in LEGACY else LEGACY[0],
                "capabilities": CAPABILITIES,
            }
            return {**version, "serverInfo": SERVER_INFO, "instructions": INSTRUCTIONS}
        if method == "ping":
            return {}
        if method == "tools/list":
            return {"tools": TOOLS}
        if method == "tools/call":
            return self._call(params, headers)
        raise RpcError(-32601, "Method not found")

    def _call(self, params: dict[str, Any], headers: Mapping[bytes, bytes]) -> dict[str, Any]:
        tool = BY_NAME.get(str(params.get("name")))
        arguments = params.get("arguments") or {}
        if tool is None or not isinstance(arguments, dict):
            raise RpcError(-32602, f"Unknown tool: {params.get('name')}")
        if problem := complaint(tool, arguments):
            return _text(problem, is_error=True)
        if tool["name"] == "session_info":
            return _text("\n".join(f"{name.decode('latin-1')}: {headers[name].decode('latin-1')}" for name in headers))
        try:
            found = getattr(self._helpdesk, tool["name"])(**arguments)
        except NotPossible as reason:
            return _text(str(reason), is_error=True)
        return _structured(found, declared="outputSchema" in tool)


def _is_modern(params: dict[str, Any], headers: Mapping[bytes, bytes]) -> bool:
    meta = params.get("_meta")
    stated = headers.get(b"mcp-protocol-version", b"").decode("latin-1")
    return (isinstance(meta, dict) and f"{_META}protocolVersion" in meta) or (bool(stated) and stated not in LEGACY)


def _check_routing(method: str, params: dict[str, Any], headers: Mapping[bytes, bytes]) -> None:
    """The ladder of 2026-07-28: required metadata, headers that agree with the body, a revision we speak."""
    meta = params.get("_meta")
    if not isinstance(meta, dict) or f"{_META}protocolVersion" not in meta or f"{_META}clientCapabilities" not in meta:
        raise RpcError(-32602, "Request metadata is incomplete", status=400)
    version = str(meta[f"{_META}protocolVersion"])
    expected = {b"mcp-protocol-version": version, b"mcp-method": method}
    if method == "tools/call":
        expected[b"mcp-name"] = str(params.get("name"))
    if any(headers.get(name, b"").decode("latin-1") != value for name, value in expected.items()):
        raise RpcError(-32020, "Routing headers do not match the body", status=400)
    if version != MODERN:
        data = {"supported": [MODERN, *LEGACY], "requested": version}
        raise RpcError(-32022, "Unsupported protocol version", status=400, data=data)


def _text(text: str, *, is_error: bool = False) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": is_error}


def _structured(found: dict[str, Any], *, declared: bool) -> dict[str, Any]:
    result = _text(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    return {**result, "structuredContent": found} if declared else result


def _failed(request_id: object, error: Mapping[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "error": error}


async def _body(receive: Receive) -> bytes | None:
    """The request's body; None when it is too large."""
    pieces, size = [], 0
    while True:
        event = await receive()
        pieces.append(event.get("body", b""))
        size += len(pieces[-1])
        if size > BODY_BYTES:
            return None
        if not event.get("more_body"):
            return b"".join(pieces)


async def _answer(send: Send, status: int, message: dict[str, Any] | None, *, extra: list[tuple[bytes, bytes]]) -> None:
    body = b"" if message is None else orjson.dumps(message)
    fields = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *extra]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
