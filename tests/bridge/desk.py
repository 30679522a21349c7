"""A scripted gateway on a real socket, and a bridge in front of it whose lines a test writes and reads."""

import copy
import json
import os
import queue
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from gatehouse_bridge.address import address_of
from gatehouse_bridge.bridge import Bridge
from gatehouse_bridge.gateway import Gateway
from gatehouse_bridge.keys import Key
from gatehouse_bridge.lines import Output, read_lines

KEY = "gate_ak_" + "k" * 40
SOON_SECONDS = 30.0
QUIET_SECONDS = 0.3
MODERN_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Visit(BaseHTTPRequestHandler):
    """One request; a script answers it by these words."""

    protocol_version = "HTTP/1.1"
    server: "ScriptedGateway"
    message: Any

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        is_form = "urlencoded" in self.headers.get("Content-Type", "")
        self.message = dict(parse_qsl(body.decode())) if is_form else json.loads(body) if body else None
        self.server.seen.append(copy.copy(self))
        self.server.script(_method(self) if self.path == "/mcp" else self.path)(self)

    do_POST = do_GET = do_DELETE = _serve  # noqa: N815  (the library calls them so)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing."""

    def say(self, status: int, body: Any = None, **headers: str) -> None:
        sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def answer(self, result: Any, **headers: str) -> None:
        self.say(200, {"jsonrpc": "2.0", "id": self.message["id"], "result": result}, **headers)

    def stream(self, **headers: str) -> None:
        self.send_response(200)
        for name, value in {"Content-Type": "text/event-stream", "Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def event(self, message: Any, event_id: str = "") -> None:
        head = f"id: {event_id}\n" if event_id else ""
        self.wfile.write(f"{head}data: {json.dumps(message)}\n\n".encode())

    def hang_up(self) -> None:
        """Without an answer."""
        self.close_connection = True

    def until_client_left(self) -> bool:
        return bool(select.select([self.connection], [], [], SOON_SECONDS)[0]) and not self.connection.recv(1)


Script = Callable[[Visit], None]


class ScriptedGateway(ThreadingHTTPServer):
    """`scripts` says what a method is answered, one after the other; the last one stays."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Visit)
        self.seen: list[Visit] = []
        self.scripts: dict[str, list[Script]] = {
            "initialize": [lambda visit: visit.answer({"protocolVersion": "2025-11-25"}, Mcp_Session_Id="s-1")],
            "notifications/initialized": [lambda visit: visit.say(202)],
            "notifications/cancelled": [lambda visit: visit.say(202)],
            "GET": [lambda visit: visit.say(405)],
            "DELETE": [lambda visit: visit.say(204)],
        }

    def script(self, method: str) -> Script:
        steps = self.scripts[method]
        return steps.pop(0) if len(steps) > 1 else steps[0]

    def sent(self, method: str) -> list[Visit]:
        return [visit for visit in list(self.seen) if method in (_method(visit), visit.path)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/mcp"


def _method(visit: Visit) -> str:
    return str(visit.message.get("method", "answer")) if isinstance(visit.message, dict) else visit.command


@dataclass
class Desk:
    gateway: ScriptedGateway
    bridge: Bridge
    heard: "queue.SimpleQueue[Any]" = field(default_factory=queue.SimpleQueue)

    def say(self, message: Any) -> None:
        line = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.bridge.take(line)

    def ask(self, method: str, params: Any = None, *, id: Any = 1) -> Any:  # noqa: A002
        self.say({"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}})
        return self.next()

    def ask_modern(self, method: str, params: Any = None, *, id: Any = 1) -> Any:  # noqa: A002
        return self.ask(method, {**(params or {}), "_meta": MODERN_META}, id=id)

    def greet(self) -> None:
        """A session, and the client's word that it is ready."""
        self.ask("initialize", {"protocolVersion": "2025-11-25"}, id="hello")
        self.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        until(lambda: bool(self.gateway.sent("notifications/initialized")))

    def next(self) -> Any:
        return self.heard.get(timeout=SOON_SECONDS)

    def is_quiet(self) -> bool:
        try:
            return self.heard.get(timeout=QUIET_SECONDS) is None
        except queue.Empty:
            return True


def until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(SOON_SECONDS / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("it did not come about")


@contextmanager
def scripted_gateway(port: int = 0) -> Iterator[ScriptedGateway]:
    server = ScriptedGateway(port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def opened_desk(key: "Key | Callable[[str], Key] | None" = None) -> Iterator[Desk]:
    reading, writing = os.pipe()
    with scripted_gateway() as gateway, os.fdopen(reading, "rb") as output:
        held = key(gateway.url) if callable(key) else key or Key(KEY)
        desk = Desk(gateway, Bridge(Gateway(address_of(gateway.url), held), Output(writing)))
        listener = threading.Thread(target=_listen, args=(output, desk.heard), daemon=True)
        listener.start()
        try:
            yield desk
        finally:
            desk.bridge.finish()
            os.close(writing)
            listener.join(SOON_SECONDS)


def _listen(output: Any, heard: "queue.SimpleQueue[Any]") -> None:
    for line in read_lines(output, 64 * 1024 * 1024):
        assert isinstance(line, bytes)
        heard.put(json.loads(line))
