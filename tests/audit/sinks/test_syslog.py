"""Against receivers of our own: what is counted as delivered, and what is not."""

import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from audit.sinks import SINK_KINDS, confirmed, syslog
from audit.sinks.base import Record, Refused, Unreachable
from tests.audit.sinks.certificates import Authority
from tests.audit.sinks.records import BEGAN, checkpoint, record, records

AUTHORITY = Authority()
MESSAGE = re.compile(
    r"<110>1 (?P<at>\S+) gw1 gatehouse - (?P<kind>EVENT|CHECKPOINT) \[gatehouse@32473 (?P<told>.*?[^\\])\] (?P<body>.*)"
)


class Receiver:
    """Takes one connection after the other; `receive` does with each what it likes."""

    def __init__(self, receive: Callable[[socket.socket], None]) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._receive = receive
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(60)
                try:
                    self._receive(connection)
                except OSError:
                    continue

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


Listen = Callable[[Callable[[socket.socket], None]], int]


@pytest.fixture
def listen() -> Iterator[Listen]:
    open_ones: list[Receiver] = []

    def begin(receive: Callable[[socket.socket], None]) -> int:
        open_ones.append(Receiver(receive))
        return open_ones[-1].port

    yield begin
    for receiver in open_ones:
        receiver.close()


def sink_for(port: int, *, secret: str = "", **settings: object) -> syslog.Syslog:
    read = {"host": "localhost", "port": port, "ca": AUTHORITY.pem.decode(), "hostname": "gw1"}
    return syslog.Syslog(syslog.Settings.of({**read, **settings}), secret, lambda host, port: ["127.0.0.1"])


def messages_in(stream: bytes) -> list[str]:
    """By octet counting; AssertionError if anything is left over."""
    found = []
    while stream:
        length, _, stream = stream.partition(b" ")
        assert re.fullmatch(rb"[1-9]\d*", length)
        assert len(stream) >= int(length)
        found.append(stream[: int(length)].decode())
        stream = stream[int(length) :]
    return found


def parsed(message: str) -> tuple[dict[str, str], str]:
    found = MESSAGE.fullmatch(message)
    assert found, message
    told = dict(re.findall(r'(\w+)="((?:[^"\\\]]|\\.)*)"', found["told"]))
    return {"kind": found["kind"], "at": found["at"], **told}, found["body"]


def message_of(sent: Record, **settings: object) -> tuple[dict[str, str], str]:
    read = syslog.Settings.of({"host": "h", "hostname": "gw1", **settings})
    (message,) = messages_in(syslog.framed(sent, read))
    assert len(message.encode()) <= 8_000
    return parsed(message)


def test_a_message_holds_the_event_and_its_place_in_the_log():
    told, body = message_of(record(42))

    assert told == {
        "kind": "EVENT",
        "at": "2026-11-22T01:02:45.456789Z",
        "org": "acme",
        "event_id": "00000000-0000-0000-0000-00000000002b",
        "idx": "42",
    }
    assert orjson.loads(body)["header"]["tool"] == "github__merge_pr"


def test_a_checkpoint_is_not_counted_as_a_leaf():
    told, _ = message_of(checkpoint(3))

    assert (told["kind"], told["size"]) == ("CHECKPOINT", "3")
    assert "idx" not in told


def test_quotes_backslashes_and_brackets_do_not_end_a_value():
    told, _ = message_of(replace(record(1), org='a"]\\b'))

    assert told["org"] == r"a\"\]\\b"


def test_a_long_event_is_cut_into_one_message_that_says_so():
    long = record(1, note="é" * 9_000)

    told, body = message_of(long)

    assert told["cut_from"] == str(len(long.body))
    assert len(told["cut_sha256"]) == 64
    assert orjson.loads(body)["cut"] == ["header.details"]
    assert orjson.loads(body)["header"]["tool"] == "github__merge_pr"


@pytest.mark.parametrize("tail", ["é", "\\\\"])
def test_a_long_line_of_cef_is_cut_at_a_character(tail: str):
    for spare in range(4):
        told, body = message_of(Record(1, record(1).event_id, BEGAN, ("CEF:0|" + "x" * spare + tail * 9_000).encode()))

        assert "cut_from" in told
        assert (len(body) - len(body.rstrip("\\"))) % 2 == 0


def test_what_a_receiver_read_to_its_end_has_arrived(listen: Listen, tmp_path: Path):
    read = bytearray()
    context = AUTHORITY.server_context(tmp_path)

    def receive(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as stream:
            while part := stream.recv(65536):
                read.extend(part)
            stream.unwrap()

    sink = sink_for(listen(receive))
    sink.send(records(500))
    sink.send([record(500)])

    assert [int(parsed(message)[0]["idx"]) for message in messages_in(bytes(read))] == list(range(501))


@pytest.mark.parametrize("says_goodbye", [True, False])
def test_an_end_that_anybody_on_the_way_could_make_is_enough_unless_more_is_required(
    says_goodbye: bool, listen: Listen, tmp_path: Path
):
    context = AUTHORITY.server_context(tmp_path)

    def receive(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as stream:
            while stream.recv(65536):
                pass
            if says_goodbye:
                stream.unwrap()

    port = listen(receive)
    sink_for(port).send(records(1))
    if says_goodbye:
        sink_for(port, require_close_notify=True).send(records(1))
    else:
        with pytest.raises(Unreachable, match="not its TLS session"):
            sink_for(port, require_close_notify=True).send(records(1))


def test_a_receiver_that_closes_without_reading_did_not_get_it(listen: Listen, tmp_path: Path):
    context = AUTHORITY.server_context(tmp_path)

    def receive(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as stream:
            stream.recv(10)

    with pytest.raises(Unreachable):
        sink_for(listen(receive)).send([record(index, note="x" * 5_000) for index in range(1_000)])


def test_a_receiver_that_resets_did_not_get_it(listen: Listen, tmp_path: Path):
    context = AUTHORITY.server_context(tmp_path)

    def receive(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as stream:
            while stream.recv(65536):
                pass
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with pytest.raises(Unreachable, match="broke"):
        sink_for(listen(receive)).send(records(3))


def test_a_receiver_that_ends_before_our_end_did_not_get_it(listen: Listen, tmp_path: Path):
    context, has_ended = AUTHORITY.server_context(tmp_path), threading.Event()

    def receive(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as stream:
            stream.setblocking(False)
            with suppress(OSError):
                stream.unwrap()
            has_ended.set()
            stream.settimeout(60)
            while socket.socket.recv(stream, 65536):
                pass

    with socket.create_connection(("127.0.0.1", listen(receive))) as plain:
        conversation = confirmed.Conversation(plain, AUTHORITY.client_context(), "localhost")
        conversation.open(ends_at=time.monotonic() + 60)
        assert has_ended.wait(60)
        conversation.write(b"lost", ends_at=time.monotonic() + 60)
        with pytest.raises(confirmed.NotProven, match="before everything"):
            conversation.end(ends_at=time.monotonic() + 60)


def test_a_receiver_that_talks_without_end_is_not_listened_to(listen: Listen, tmp_path: Path):
    context = AUTHORITY.server_context(tmp_path)

    def receive(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as stream:
            while True:
                stream.sendall(bytes(65536))

    with pytest.raises(Unreachable, match=r"talks|broke"):
        sink_for(listen(receive)).send(records(1))


@pytest.mark.parametrize("reads", [True, False])
def test_a_receiver_that_never_closes_or_never_reads_is_not_waited_for(
    reads: bool, listen: Listen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(confirmed, "WRITE_SECONDS", 0.5)
    monkeypatch.setattr(confirmed, "ANSWER_SECONDS", 0.5)
    context, over = AUTHORITY.server_context(tmp_path), threading.Event()

    def receive(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as stream:
            while reads and stream.recv(65536):
                pass
            over.wait(60)

    sent = records(3) if reads else [record(index, note="x" * 7_000) for index in range(2_000)]
    try:
        with pytest.raises(Unreachable, match="in time"):
            sink_for(listen(receive)).send(sent)
    finally:
        over.set()


def test_nobody_there(listen: Listen):
    port = listen(lambda connection: None)

    with pytest.raises(Unreachable):
        sink_for(port).send(records(1))
    with pytest.raises(Unreachable, match="could not be connected"):
        syslog.Syslog(syslog.Settings.of({"host": "h"}), "", lambda host, port: []).send(records(1))


@pytest.mark.parametrize("wrong", ["name", "authority"])
def test_a_receiver_that_proves_nothing_gets_nothing(wrong: str, listen: Listen, tmp_path: Path):
    authority = Authority() if wrong == "authority" else AUTHORITY
    context = authority.server_context(tmp_path, "other.example" if wrong == "name" else "localhost")
    read = bytearray()

    def receive(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as stream:
            read.extend(stream.recv(10))

    with pytest.raises(Refused, match="certificate is not accepted"):
        sink_for(listen(receive)).send(records(1))
    assert not read


def test_a_receiver_that_wants_it_gets_our_certificate(listen: Listen, tmp_path: Path):
    context, subjects = AUTHORITY.server_context(tmp_path), []
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=AUTHORITY.pem.decode())

    def receive(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as stream:
            subjects.append(stream.getpeercert()["subjectAltName"])
            while stream.recv(65536):
                pass
            stream.unwrap()

    port = listen(receive)
    sink_for(port, secret=AUTHORITY.issue("gw.example").both).send(records(1))
    assert subjects == [(("DNS", "gw.example"),)]

    # Over TLS 1.3 the refusal comes after our handshake, and sometimes after our last byte.
    for _ in range(20):
        with pytest.raises(Unreachable):
            sink_for(port).send(records(1))


def test_a_secret_that_is_no_certificate_pauses_and_is_not_shown():
    with pytest.raises(Refused, match="PEM") as failed:
        sink_for(1, secret="hunter2").send(records(1))

    assert "hunter2" not in str(failed.value)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"host": ""}, "host"),
        ({"host": "https://x"}, "host"),
        ({"port": 0}, "port"),
        ({"port": True}, "port"),
        ({"ca": "not pem"}, "ca"),
        ({"hostname": "a b"}, "hostname"),
        ({"facility": 24}, "facility"),
        ({"tls": False}, "tls"),
    ],
    ids=lambda value: value if isinstance(value, str) else "with",
)
def test_wrong_settings_name_the_field(settings: dict[str, object], field: str):
    with pytest.raises(ValueError, match=f"^{field}: "):
        SINK_KINDS["syslog"].check({"host": "syslog.example", **settings})


def test_the_same_event_is_always_the_same_message():
    read = syslog.Settings.of({"host": "h"})
    long = record(1, note="x" * 9_000)

    assert syslog.framed(long, read) == syslog.framed(replace(long), read)
