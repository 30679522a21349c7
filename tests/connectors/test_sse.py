import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sse import SseOverflow, SseReader

FRAGMENTS = st.sampled_from(
    [b"data: a", b"data:b", b"data", b": ping", b"event: message", b"event: other", b"id: 1", b"retry: 5",
     b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\xef\xbb\xbf", "data: ü€".encode(), b"x" * 40]
)  # fmt: skip


def reference(stream: bytes) -> list[bytes]:
    """The specification read literally: split into lines, then into events."""
    events, data, kind = [], [], b""
    *lines, _ = re.split(rb"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf"))
    for line in lines:
        if not line:
            if b"\n".join(data) and kind in (b"", b"message"):
                events.append(b"\n".join(data))
            data, kind = [], b""
            continue
        name, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value
    return events


def cut(stream: bytes, points: list[int]) -> list[bytes]:
    edges = [0, *sorted(point % (len(stream) + 1) for point in points), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(FRAGMENTS, max_size=30).map(b"".join), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_chunking_gives_the_same_events(stream: bytes, points: list[int]) -> None:
    reader = SseReader(max_event_bytes=10_000)
    assert [event for piece in cut(stream, points) for event in reader.feed(piece)] == reference(stream)


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
