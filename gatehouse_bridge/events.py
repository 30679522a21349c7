"""Server-sent events, read from a stream of bounded lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator

EVENT_LIMIT = 32 * 1024 * 1024
NO_TIME = 86_400_000
"""Milliseconds; a server that asks for a longer wait than a day is not believed."""


class EventTooLarge(Exception):
    """A line or an event over the limit."""


class EventReader:
    """Gives each event's data; `last_id` is that of the last whole event, `retry_seconds` what the stream asked for."""

    def __init__(self, read_line: Callable[[int], bytes], limit: int = EVENT_LIMIT) -> None:
        self.last_id = ""
        self.retry_seconds: float | None = None
        self._coming_id = ""
        self._read_line = read_line
        self._limit = limit

    def __iter__(self) -> Iterator[bytes]:
        """Ends with the stream; an event that its end cut off is not given. Raises EventTooLarge."""
        data: list[bytes] = []
        size, is_first = 0, True
        while line := self._read_line(self._limit + 2):
            if len(line) > self._limit + 1:
                raise EventTooLarge
            if not line.endswith(b"\n"):
                return
            line = line.rstrip(b"\r\n")
            if is_first:
                line, is_first = line[3:] if line.startswith(b"\xef\xbb\xbf") else line, False
            if line:
                size += self._take(line, data)
                if size > self._limit:
                    raise EventTooLarge
                continue
            self.last_id = self._coming_id
            whole, data, size = b"\n".join(data), [], 0
            if whole:
                yield whole

    def continued(self, read_line: Callable[[int], bytes]) -> EventReader:
        """Of the stream that goes on where this one broke off."""
        reader = EventReader(read_line, self._limit)
        reader.last_id = reader._coming_id = self.last_id
        reader.retry_seconds = self.retry_seconds
        return reader

    def _take(self, line: bytes, data: list[bytes]) -> int:
        """The bytes that the line adds to its event."""
        name, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if name == b"data":
            data.append(value)
            return len(value) + 1
        if name == b"id" and b"\0" not in value:
            self._coming_id = value.decode("latin-1")
        elif name == b"retry" and value.isdigit() and len(value) < 9:
            self.retry_seconds = min(int(value), NO_TIME) / 1000
        return 0
