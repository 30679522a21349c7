"""A Slack that takes nothing it does not know, and breaks as it is told to. It runs on a thread of its own."""

import json
import socket
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

TOKEN = "xoxb-of-the-tests"
FIELDS = {
    "chat.postMessage": {"channel", "text", "blocks", "unfurl_links", "unfurl_media"},
    "chat.update": {"channel", "ts", "text", "blocks", "unfurl_links", "unfurl_media"},
    "chat.postEphemeral": {"channel", "user", "text"},
}
BLOCKS = {"header", "section", "context", "actions"}
ELEMENTS = {"button", "mrkdwn"}


class FakeSlack:
    """`faults` are used up one a request: "500", "429", "slow", "reset", "lost" (taken, but the answer never comes) or
    an error in Slack's words. `messages` are what stands in the channels, by ts."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.faults: deque[str] = deque()
        self.messages: dict[str, dict[str, Any]] = {}
        self.whispers: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.released = Event()

    def take(self, method: str, token: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(method)
        if token != f"Bearer {TOKEN}":
            return {"ok": False, "error": "invalid_auth"}
        assert set(body) <= FIELDS[method], f"unknown arguments: {set(body) - FIELDS[method]}"
        check_blocks(body.get("blocks", []))
        if method == "chat.postEphemeral":
            self.whispers.append(body)
            return {"ok": True, "message_ts": "1.0"}
        if method == "chat.update" and body["ts"] not in self.messages:
            return {"ok": False, "error": "message_not_found"}
        ts = body.get("ts") or f"{1_700_000_000 + len(self.messages)}.000100"
        self.messages[ts] = body
        return {"ok": True, "channel": body["channel"], "ts": ts}

    def buttons(self, ts: str = "") -> dict[str, dict[str, Any]]:
        """Of a message, the last one if none is named, by action id."""
        message = self.messages[ts or max(self.messages)]
        actions = [each for block in message["blocks"] if block["type"] == "actions" for each in block["elements"]]
        return {each["action_id"]: each for each in actions}

    def text(self, ts: str = "") -> str:
        return json.dumps(self.messages[ts or max(self.messages)], ensure_ascii=False)


def check_blocks(blocks: list[dict[str, Any]]) -> None:
    """As Block Kit bounds them."""
    assert len(blocks) <= 50
    for block in blocks:
        assert block["type"] in BLOCKS
        for text in [block.get("text"), *block.get("fields", [])]:
            if text is not None:
                check_text(text, 150 if block["type"] == "header" else 3000)
        assert len(block.get("fields", [])) <= 10
        for element in block.get("elements", []):
            assert element["type"] in ELEMENTS
            assert len(element.get("value", "")) <= 2000
            assert len(element.get("url", "")) <= 3000


def check_text(text: dict[str, Any], longest: int) -> None:
    assert text["type"] == "plain_text", "what others named must not be markup"
    assert text["emoji"] is False
    assert 0 < len(text["text"]) <= longest


@contextmanager
def fake_slack() -> Iterator[FakeSlack]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    slack = server.slack = FakeSlack(f"http://127.0.0.1:{server.server_port}/api")  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield slack
    finally:
        slack.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *_: Any) -> None:
        """Not to the tests' output."""

    def do_POST(self) -> None:
        slack: FakeSlack = self.server.slack
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        fault = slack.faults.popleft() if slack.faults else ""
        if fault in ("500", "429"):
            self._answer(int(fault), b"", {"Retry-After": "77"} if fault == "429" else {})
        elif fault == "slow":
            slack.released.wait()
            self.close_connection = True
        elif fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
        elif fault and fault != "lost":
            self._answer(200, json.dumps({"ok": False, "error": fault}).encode())
        else:
            told = slack.take(self.path.rpartition("/")[2], self.headers.get("Authorization", ""), json.loads(raw))
            if fault == "lost":
                self.close_connection = True
            else:
                self._answer(200, json.dumps(told).encode())

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
