"""Records as the export loop hands them to a sink, and a way out into a fake."""

import gzip
import itertools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import orjson

from audit.event import AuditEvent
from audit.formats import native
from audit.formats.entry import Entry, SignedSize
from audit.sinks.base import Record, WayOut

BEGAN = datetime(2026, 11, 22, 1, 2, 3, 456789, tzinfo=UTC)


def entry(index: int, **details: object) -> Entry:
    """A call that was allowed, as a leaf."""
    at = BEGAN + timedelta(seconds=index)
    event_id = UUID(int=index + 1)
    event = AuditEvent(
        kind="call.intent",
        at=at,
        actor="agent:release-bot",
        agent="release-bot",
        person="ann@corp.example",
        connector="github",
        tool="github__merge_pr",
        decision="permit",
        id=event_id,
        details=details,
    )
    return Entry(index, bytes(32), event_id, at, 7, event.header())


def record(index: int, **details: object) -> Record:
    leaf = entry(index, **details)
    return Record(index, leaf.event_id, leaf.at, native.record(leaf, org="acme", redact=None), org="acme")


def records(count: int, *, first: int = 0) -> list[Record]:
    return [record(index) for index in range(first, first + count)]


def checkpoint(size: int) -> Record:
    body = native.checkpoint(SignedSize(size, BEGAN, "gw/audit\n3\nroot\n"), org="acme")
    return Record(size, UUID(int=1 << 100), BEGAN, body, is_checkpoint=True, org="acme")


def way_to(fake: Callable[[httpx.Request], httpx.Response]) -> WayOut:
    return WayOut(http=lambda **settings: httpx.Client(transport=httpx.MockTransport(fake), **settings), addresses=none)


def none(host: str, port: int) -> Sequence[str]:
    return ()


class Endless(httpx.SyncByteStream):
    """An answer that never ends, and how much of it was read."""

    def __init__(self) -> None:
        self.read = 0

    def __iter__(self):
        for _ in itertools.count():
            self.read += 1024
            yield b"x" * 1024


def content_of(request: httpx.Request) -> bytes:
    """Its body; AssertionError if its headers say something else than what it is."""
    body = request.read()
    assert int(request.headers["Content-Length"]) == len(body)
    packing = request.headers.get("Content-Encoding", "identity")
    if packing == "identity":
        return body
    assert packing == "gzip"
    return gzip.decompress(body)


def answer(status: int, told: object = None, **headers: str) -> httpx.Response:
    """As it comes from a socket: not read yet."""
    content = b"" if told is None else told if isinstance(told, bytes) else orjson.dumps(told)
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(content))
