"""MCP as bytes: messages of both eras, well-formed or not, sent to a gateway."""

import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

MODERN = "2026-07-28"
NEWEST_LEGACY = "2025-11-25"
META = "io.modelcontextprotocol/"
BOTH_KINDS = "application/json, text/event-stream"
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def error(self) -> tuple[int, str]:
        error = self.message["error"]
        return error["code"], error["message"]

    @property
    def result(self) -> dict[str, Any]:
        assert "result" in self.message, self.message
        found: dict[str, Any] = self.message["result"]
        return found

    @property
    def text(self) -> str:
        return str(self.result["content"][0]["text"])


class Caller:
    """One agent with its key, or a stranger with none, at one endpoint of a gateway."""

    def __init__(
        self, origin: str, key: str | None, *, path: str = "/mcp", timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self.url = f"{origin}{path}"
        self.key = key
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        self._http = httpx.Client(headers=headers, timeout=timeout_seconds)

    def close(self) -> None:
        self._http.close()

    def post(self, body: bytes, headers: dict[str, str] | list[tuple[str, str]] | None = None) -> Reply:
        usual = {"Content-Type": "application/json", "Accept": BOTH_KINDS}
        given = list(headers.items()) if isinstance(headers, dict) else list(headers or ())
        named = {name.lower() for name, _ in given}
        sent = [*((name, value) for name, value in usual.items() if name.lower() not in named), *given]
        return self.request("POST", body, sent)

    def request(self, method: str, body: bytes = b"", headers: Any = None, *, url: str = "") -> Reply:
        response = self._http.request(method, url or self.url, content=body, headers=headers)
        return Reply(response.status_code, response.headers, response.content)

    def ask(self, method: str, params: dict[str, Any] | None = None, *, id: Any = 1, **headers: str) -> Reply:  # noqa: A002
        """A request of the newest legacy revision."""
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}
        return self.post(json.dumps(message).encode(), {"MCP-Protocol-Version": NEWEST_LEGACY} | headers)

    def ask_modern(self, method: str, params: dict[str, Any] | None = None, *, id: Any = 1) -> Reply:  # noqa: A002
        message = modern_message(method, params, id=id)
        return self.post(json.dumps(message).encode(), modern_headers(message))

    def call(self, tool: str, **arguments: Any) -> Reply:
        return self.ask("tools/call", {"name": tool, "arguments": arguments})

    def tools(self) -> list[str]:
        return [tool["name"] for tool in self.ask("tools/list").result["tools"]]


def modern_message(method: str, params: dict[str, Any] | None = None, *, id: Any = 1) -> dict[str, Any]:  # noqa: A002
    meta = {f"{META}protocolVersion": MODERN, f"{META}clientCapabilities": {}}
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": {"_meta": meta, **(params or {})}}


def modern_headers(message: dict[str, Any]) -> dict[str, str]:
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": message["method"]}
    name = message["params"].get("name")
    return headers | ({"Mcp-Name": name} if isinstance(name, str) else {})


def exchange(origin: str, data: bytes, *, half_close: bool = False) -> bytes:
    """Sends exactly these bytes on a connection of their own; all that comes back until the gateway closes or
    falls silent for a second."""
    address = urlsplit(origin)
    with socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_SECONDS) as connection:
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return _received(connection)


def _received(connection: socket.socket) -> bytes:
    answer = b""
    while True:
        try:
            piece = connection.recv(65536)
        except (TimeoutError, ConnectionResetError):
            return answer
        if not piece:
            return answer
        answer += piece
        connection.settimeout(1.0)


def http_request(*header_lines: str, body: bytes = b"", method: str = "POST", path: str = "/mcp") -> bytes:
    """A request head by hand; the caller writes every header, so that it can lie."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", *header_lines, "", ""]).encode("latin-1") + body
