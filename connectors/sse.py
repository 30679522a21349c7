"""Server-sent events, read as they arrive (WHATWG HTML, section 9.2; MCP uses unnamed and `message` events, and the old
HTTP+SSE one called `endpoint`)."""

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")
_USABLE_ID = re.compile(rb"[\x21-\x7e]{1,1024}")
_LONGEST_RETRY_DIGITS = 9


class SseOverflow(ValueError):
    """The stream holds more, or larger, events than we are willing to read."""


class SseReader:
    """Feed it the stream in pieces of any size; it returns the payload of each event that became complete.

    `last_id` is the id of the last complete event, where it could be sent back in a header; `retry_ms` is how long the
    server wants to be left alone after a break; `endpoint` is the payload of the event of that name.
    """

    __slots__ = (
        "_data",
        "_data_bytes",
        "_event",
        "_events_left",
        "_held",
        "_held_bytes",
        "_id",
        "_is_start",
        "_max_event_bytes",
        "_skip_lf",
        "endpoint",
        "last_id",
        "retry_ms",
    )

    def __init__(self, *, max_event_bytes: int, max_events: int = 10_000) -> None:
        self._max_event_bytes = max_event_bytes
        self._events_left = max_events
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = b""
        self._is_start = True
        self._skip_lf = False
        self._id = b""
        self.last_id = ""
        self.retry_ms: int | None = None
        self.endpoint: bytes | None = None

    def feed(self, chunk: bytes) -> list[bytes]:
        """The payloads completed by this piece, empty ones left out. Raises SseOverflow."""
        if self._skip_lf and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._skip_lf = False
        *lines, rest = _LINE_END.split(chunk)
        if lines:
            lines[0] = b"".join((*self._held, lines[0]))
            self._held.clear()
            self._held_bytes = 0
            self._skip_lf = chunk.endswith(b"\r")
        payloads = [payload for line in lines if (payload := self._line(line))]
        self._hold(rest)
        return payloads

    def _hold(self, rest: bytes) -> None:
        """Keeps an unfinished line in pieces: joining it at each feed would cost the square of its length."""
        self._held.append(rest)
        self._held_bytes += len(rest)
        self._check_size(self._held_bytes)

    def _check_size(self, line_bytes: int) -> None:
        if self._data_bytes + line_bytes > self._max_event_bytes:
            raise SseOverflow("event too large")

    def _line(self, line: bytes) -> bytes | None:
        self._check_size(len(line))
        if self._is_start:
            line = line.removeprefix(b"\xef\xbb\xbf")
            self._is_start = False
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
        elif name == b"event":
            self._event = value
        elif name == b"id":
            self._id = value if _USABLE_ID.fullmatch(value) else b""
        elif name == b"retry" and value.isdigit() and len(value) <= _LONGEST_RETRY_DIGITS:
            self.retry_ms = int(value)
        return None

    def _dispatch(self) -> bytes | None:
        payload = b"\n".join(self._data)
        is_message = self._event in (b"", b"message")
        if self._event == b"endpoint":
            self.endpoint = payload
        self.last_id = self._id.decode("ascii")
        self._data.clear()
        self._data_bytes = 0
        self._event = b""
        self._events_left -= 1
        if self._events_left < 0:
            raise SseOverflow("too many events")
        return payload if is_message else None
