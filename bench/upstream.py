"""A deliberately thin MCP server: one tool, `echo`. It must never be what limits a gateway.

`python -m bench.upstream PORT`; raw asyncio, uvloop, bodies with Content-Length only. It trusts what it reads.
"""

import asyncio
import signal
import sys
from collections.abc import Mapping
from typing import Any, cast

import orjson
import uvloop

MODERN = "2026-07-28"
TOOL = {
    "name": "echo",
    "description": "Returns the text it was given.",
    "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
}
HEAD = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
LENGTH = b"\r\ncontent-length:"


def answer(message: Mapping[str, Any]) -> dict[str, Any]:
    match message["method"]:
        case "tools/call":
            text = message["params"]["arguments"]["text"]
            result = {"content": [{"type": "text", "text": text}], "isError": False}
        case "tools/list":
            result = {"tools": [TOOL], "ttlMs": 60_000, "cacheScope": "public"}
        case "server/discover":
            result = {"supportedVersions": [MODERN], "capabilities": {"tools": {}}, "serverInfo": {}}
        case method:
            return {"error": {"code": -32601, "message": f"no method {method}"}}
    return {"result": {"resultType": "complete", **result}}


class Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (body := self._next_body()) is not None:
            message = orjson.loads(body)
            reply = orjson.dumps({"jsonrpc": "2.0", "id": message["id"], **answer(message)})
            self._transport.write(HEAD % (200, len(reply), reply))

    def _next_body(self) -> bytes | None:
        end = self._unread.find(b"\r\n\r\n") + 4
        if end < 4:
            return None
        head = self._unread[:end].lower()
        start = head.index(LENGTH) + len(LENGTH)
        stop = end + int(head[start : head.index(b"\r\n", start)])
        if len(self._unread) < stop:
            return None
        body, self._unread = self._unread[end:stop], self._unread[stop:]
        return body


async def main(port: int) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    await loop.create_server(Connection, "127.0.0.1", port, backlog=1024)
    await stopped.wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
