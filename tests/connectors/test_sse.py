import itertools
import re
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sse import SseOverflow, SseReader

FRAGMENTS = st.sampled_from(
    [b"data: a", b"data:b", b"data", b": ping", b"event: message", b"event: other", b"id: 1", b"retry: 5",
     b"id: e-2", b"id", b"id: a b", b"id: \x00", b"retry: 70", b"retry: soon", b"retry: 9999999999", b"event: endpoint",
     b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\xef\xbb\xbf", "data: ü€".encode(), b"x" * 40]
)  # fmt: skip


@dataclass
class Heard:
    events: list[bytes] = field(default_factory=list)
    last_id: str = ""
    retry_ms: int | None = None
    endpoint: bytes | None = None


def reference(stream: bytes) -> Heard:  # noqa: C901  # as the specification has it, one case after the other
    """The specification read literally: split into lines, then into events."""
    heard = Heard()
    data: list[bytes] = []
    kind, event_id = b"", b""
    *lines, _ = re.split(rb"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf"))
    for line in lines:
        if not line:
            if b"\n".join(data) and kind in (b"", b"message"):
                heard.events.append(b"\n".join(data))
            if kind == b"endpoint":
                heard.endpoint = b"\n".join(data)
            heard.last_id = event_id.decode()
            data, kind = [], b""
            continue
        name, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value
        elif name == b"id":
            event_id = value if re.fullmatch(rb"[!-~]+", value) else b""
        elif name == b"retry" and re.fullmatch(rb"[0-9]{1,9}", value):
            heard.retry_ms = int(value)
    return heard


def cut(stream: bytes, points: list[int]) -> list[bytes]:
    edges = [0, *sorted(point % (len(stream) + 1) for point in points), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(FRAGMENTS, max_size=30).map(b"".join), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_chunking_gives_the_same_events(stream: bytes, points: list[int]) -> None:
    reader = SseReader(max_event_bytes=10_000)
    events = [event for piece in cut(stream, points) for event in reader.feed(piece)]
    assert Heard(events, reader.last_id, reader.retry_ms, reader.endpoint) == reference(stream)


@given(st.binary(max_size=300), st.lists(st.integers(0, 10_000), max_size=8))
def test_any_bytes_whatever_are_read_alike_however_they_are_cut(stream: bytes, points: list[int]) -> None:
    reader = SseReader(max_event_bytes=10_000)
    events = [event for piece in cut(stream, points) for event in reader.feed(piece)]
    assert Heard(events, reader.last_id, reader.retry_ms, reader.endpoint) == reference(stream)


@given(st.lists(FRAGMENTS, max_size=20).map(b"".join), st.lists(st.integers(0, 10_000), max_size=8))
def test_the_size_bound_does_not_depend_on_the_chunking(stream: bytes, points: list[int]) -> None:
    def outcome(pieces: list[bytes]) -> list[bytes] | str:
        reader = SseReader(max_event_bytes=30)
        try:
            return [event for piece in pieces for event in reader.feed(piece)]
        except SseOverflow:
            return "overflow"

    assert outcome(cut(stream, points)) == outcome([stream])


def test_an_endless_line_is_refused() -> None:
    reader = SseReader(max_event_bytes=1_000)
    for _ in range(1_000):
        reader.feed(b"x")
    with pytest.raises(SseOverflow):
        reader.feed(b"x")


def test_an_event_of_many_small_lines_is_refused() -> None:
    reader = SseReader(max_event_bytes=1_000)
    for _ in range(996):
        reader.feed(b"data\n")
    with pytest.raises(SseOverflow):
        reader.feed(b"data\ndata\n")


def test_a_flood_of_events_is_refused() -> None:
    reader = SseReader(max_event_bytes=1_000, max_events=5)
    with pytest.raises(SseOverflow):
        reader.feed(b"data: x\n\n" * 6)
