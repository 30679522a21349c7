"""The signed webhook against a receiver of our own, over the way out that the product uses."""

import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from threading import Thread
from uuid import UUID

import pytest

from audit.sinks import SINK_KINDS
from audit.sinks.base import Poisoned, Record, Refused, SinkFailure, Throttled, Unreachable
from audit.sinks.webhook import signing_key
from gateway.sink_ways import way_out

KEY = "whsec_" + b64encode(b"k" * 32).decode()
RECORDS = [Record(n, UUID(int=n), datetime(2026, 11, 21, tzinfo=UTC), b'{"n":%d}' % n) for n in (3, 4)]


class Receiver(ThreadingHTTPServer):
    """Answers `status`, and keeps what came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.sent_headers: dict[str, str] = {}
        self.got: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.server.status)
        for name, value in self.server.sent_headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def receiver(settings) -> Iterator[Receiver]:  # type: ignore[no-untyped-def]
    settings.UPSTREAM_ALLOWED_NETWORKS = (ip_network("127.0.0.0/8"),)
    with Receiver() as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


def send(url: str, *, secret: str | None = KEY) -> None:
    sink = SINK_KINDS["webhook"].build({"url": url}, secret, way_out())
    try:
        sink.send(RECORDS)
    finally:
        sink.close()


def test_a_receiver_can_tell_that_it_is_ours_and_whether_it_has_it_already(receiver: Receiver) -> None:
    send(receiver.url)
    send(receiver.url)
    (headers, body), (again, _) = receiver.got
    assert json.loads(body) == [{"n": 3}, {"n": 4}]
    told = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = hmac.digest(signing_key(KEY), told, "sha256")
    assert headers["webhook-signature"] == f"v1,{b64encode(expected).decode()}"
    assert again["webhook-id"] == headers["webhook-id"]
    assert b64decode(KEY.removeprefix("whsec_")) == signing_key(KEY)


@pytest.mark.parametrize(
    ("status", "failure"),
    [(401, Refused), (404, Refused), (302, Refused), (400, Poisoned), (413, Poisoned), (500, Unreachable)],
    ids=str,
)
def test_what_an_answer_means(receiver: Receiver, status: int, failure: type[SinkFailure]) -> None:
    receiver.status = status
    receiver.sent_headers = {"Location": "http://169.254.169.254/"}
    with pytest.raises(failure, match=str(status)):
        send(receiver.url)
    assert len(receiver.got) == 1


def test_a_busy_receiver_says_how_long_to_wait(receiver: Receiver) -> None:
    receiver.status, receiver.sent_headers = 429, {"Retry-After": "17"}
    with pytest.raises(Throttled) as caught:
        send(receiver.url)
    assert caught.value.retry_after == 17


def test_nobody_there(receiver: Receiver) -> None:
    with pytest.raises(Unreachable):
        send("http://127.0.0.1:9/")


def test_an_address_of_ours_that_is_not_allowed_is_never_connected_to(receiver: Receiver, settings) -> None:  # type: ignore[no-untyped-def]
    settings.UPSTREAM_ALLOWED_NETWORKS = ()
    with pytest.raises(Refused, match="UPSTREAM_ALLOWED_NETWORKS"):
        send(receiver.url)
    with pytest.raises(Refused):
        send(receiver.url.replace("127.0.0.1", "localhost"))
    assert receiver.got == []


def test_without_a_key_nothing_is_sent(receiver: Receiver) -> None:
    with pytest.raises(Refused, match="no value"):
        send(receiver.url, secret=None)
    assert receiver.got == []


@pytest.mark.parametrize(
    ("entered", "field"),
    [({}, "url"), ({"url": "ftp://x"}, "url"), ({"url": "https://a:b@x"}, "url"), ({"url": "https://x", "u": 1}, "u")],
    ids=["none", "scheme", "password", "unknown"],
)
def test_a_wrong_setting_is_named(entered: dict[str, object], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        SINK_KINDS["webhook"].check(entered)
