"""Lines and events, whatever is in them and however they arrive."""

import io
import json
import os
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.mcp_headers import decode_value, encode_value, header_lines, param_headers
from gatehouse_bridge.events import EventReader, EventTooLarge
from gatehouse_bridge.lines import Output, TooLong, read_lines
from gatehouse_bridge.messages import Unreadable, answers_in, parsed, read_message
from gatehouse_bridge.mirrors import Mirrors, encoded

LIMIT = 64
texts = st.text(max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


class InPieces(io.RawIOBase):
    """Gives at most `size` bytes at a time, as a pipe does."""

    def __init__(self, content: bytes, size: int) -> None:
        self._rest, self._size = content, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        piece = self._rest[: min(self._size, len(buffer))]
        buffer[: len(piece)] = piece
        self._rest = self._rest[len(piece) :]
        return len(piece)


def in_pieces(content: bytes, size: int) -> io.BufferedReader:
    return io.BufferedReader(InPieces(content, size), buffer_size=16)


lines = st.binary(max_size=LIMIT * 3).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b""))


@given(st.lists(lines), st.sampled_from([b"\n", b"\r\n"]), st.integers(1, 100), st.booleans())
def test_each_line_arrives_whole_or_is_known_to_be_too_long(sent, end, size, is_ended):
    content = end.join(sent) + (end if is_ended else b"")
    read = list(read_lines(in_pieces(content, size), LIMIT))
    wanted = [line if len(line) <= LIMIT else None for line in sent if line.strip()]
    assert [None if isinstance(line, TooLong) else line for line in read] == wanted


@given(st.binary(max_size=2000), st.integers(1, 100))
def test_no_bytes_break_the_reading_of_lines(content, size):
    for line in read_lines(in_pieces(content, size), LIMIT):
        assert isinstance(line, TooLong) or (len(line) <= LIMIT and b"\n" not in line)


@given(st.lists(values, max_size=8))
def test_what_is_written_is_one_line_each_and_the_same(messages):
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        output = Output(writing)
        for message in messages:
            output.write(json.dumps(message, indent=1).replace("\n", "\r\n").encode())
        os.close(writing)
        assert [json.loads(line) for line in pipe.read().splitlines()] == messages


def test_a_client_that_reads_no_more_ends_the_writing_quietly():
    reading, writing = os.pipe()
    os.close(reading)
    output = Output(writing)
    output.write(b"{}")
    output.write(b"{}")
    os.close(writing)
    assert output.is_broken


events = st.lists(
    st.tuples(
        st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), min_size=1, max_size=20), max_size=3),
        st.text("abc.123", max_size=5),
    )
)


@given(events, st.sampled_from(["\n", "\r\n"]), st.integers(1, 50), st.booleans())
def test_events_are_read_as_they_were_sent(sent, end, size, has_mark):
    text = "\ufeff" if has_mark else ""
    for data, event_id in sent:
        text += f": a comment{end}event: message{end}"
        text += f"id: {event_id}{end}" if event_id else ""
        text += "".join(f"data: {line}{end}" for line in data) + end
    reader = EventReader(in_pieces(text.encode(), size).readline)
    assert list(reader) == ["\n".join(data).encode() for data, _ in sent if data]
    assert reader.last_id == next((event_id for _, event_id in reversed(sent) if event_id), "")


@given(st.binary(max_size=500), st.integers(1, 50))
def test_no_bytes_break_the_reading_of_events(content, size):
    try:
        for data in EventReader(in_pieces(content, size).readline, LIMIT):
            assert len(data) <= LIMIT
    except EventTooLarge:
        assert len(content) > LIMIT


def test_an_event_that_is_cut_off_is_neither_given_nor_passed_over():
    reader = EventReader(in_pieces(b'id: 1\ndata: whole\n\nid: 2\ndata: {"cut"', 7).readline)
    assert (list(reader), reader.last_id) == ([b"whole"], "1")


@pytest.mark.parametrize("flood", [b"data: " + b"x" * 1000, b"data: xxxxxxxxxxxxxxxx\n" * 1000])
def test_an_endless_event_is_given_up(flood):
    with pytest.raises(EventTooLarge):
        list(EventReader(in_pieces(flood, 50).readline, LIMIT))


@given(st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()))
def test_a_line_is_read_or_refused_and_never_more(line):
    with suppress(Unreadable):
        message = read_message(line)
        assert message.line == line
        assert isinstance(message.revision, str)
    answers_in(parsed(line))


@given(texts)
def test_header_values_are_written_as_the_gateway_reads_them(value):
    assert encoded(value) == encode_value(value)
    assert decode_value(encoded(value)) == value


SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "inner": {"type": "object", "properties": {"count": {"type": "integer", "x-mcp-header": "Count"}}},
        "plain": {"type": "string"},
    },
}


@given(st.fixed_dictionaries({}, optional={"region": values, "inner": values, "plain": values}))
def test_arguments_are_repeated_as_the_gateway_expects_them(arguments):
    mirrors = Mirrors()
    mirrors.learn({"tools": [{"name": "tool", "inputSchema": SCHEMA}]})
    call = {"method": "tools/call", "id": 1, "params": {"name": "tool", "arguments": arguments}}
    headers = mirrors.headers(read_message(json.dumps(call).encode()))
    found = {name: value for name, value in headers.items() if name.startswith("Mcp-Param-")}
    assert found == dict(header_lines(param_headers(SCHEMA), arguments))


@given(values)
def test_no_list_of_tools_breaks_the_learning(result):
    Mirrors().learn(result)
    Mirrors().learn({"tools": result})
    Mirrors().learn({"tools": [{"name": "tool", "inputSchema": result}]})
