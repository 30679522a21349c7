"""Uvicorn's HTTP protocol with the bounds it lacks: how many connections there are, how large a request's head is and
how long it takes, how many requests wait behind another one, how long a client may not take its answer.

Without them a stranger without a key fills the memory of the process, one header line or connection at a time.
"""

import asyncio
import logging
from typing import Any

from gateway.http_connections import Connections
from gateway.http_whole import WholeHttpProtocol
from gateway.http_writes import JoinedWrites

HEAD_LIMIT = 32 * 1024
HEADERS_LIMIT = 128
HEAD_SECONDS = 15.0
STUCK_SECONDS = 30.0
PIPELINED = 8
"""Requests that a client may send before the one at work is answered; hardly any client sends one."""
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
BAD = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

logger = logging.getLogger("gateway.http")
logger.setLevel(logging.ERROR)
"""Below that are warnings about what clients send, with which any stranger could fill the log."""


class Excess(Exception):
    """More than a bound allows; ends the parsing."""


class BoundedHttpProtocol(WholeHttpProtocol):
    """Refuses a request whose head is over 32 KiB or 128 lines or takes over 15 s from its first byte (the first one
    from the connection's beginning), whose chunks are mostly not body, or that is the ninth to wait. Cuts a connection
    whose body is not there 15 s after it was answered unread, or whose client takes nothing of an answer for 30 s."""

    def __init__(self, kept: Connections, /, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = logger
        self.url, self.headers = b"", []
        self._kept = kept
        self._is_proven = False
        self._is_in_head = True
        self._is_in_body = False
        self._bare_bytes = 0
        self._head_deadline: asyncio.TimerHandle | None = None
        self._stuck_deadline: asyncio.TimerHandle | None = None

    @property
    def address(self) -> str:
        return self.client[0] if self.client else ""

    @property
    def _is_answering(self) -> bool:
        return not getattr(self.cycle, "response_complete", True)

    @property
    def is_at_work(self) -> bool:
        """Also while an answer is on its way to a slow client."""
        return self._is_answering or self.transport.get_write_buffer_size() > 0

    def give_way(self) -> None:
        self.transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """One too many is sent away before it costs anything but its socket."""
        super().connection_made(JoinedWrites(transport, self.loop))  # type: ignore[arg-type]  # all that uvicorn uses
        if self._kept.add(self):
            self._head_deadline = self.loop.call_later(HEAD_SECONDS, self._cut)
        else:
            self._refuse(BUSY)

    def data_received(self, data: bytes) -> None:
        self._bare_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._bare_bytes > HEAD_LIMIT or len(self.headers) > HEADERS_LIMIT:
            self._refuse(TOO_LARGE)
        elif self._is_in_head and self._bare_bytes and self._head_deadline is None:
            self._head_deadline = self.loop.call_later(HEAD_SECONDS, self._cut)

    def on_message_begin(self) -> None:
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """From here on the headers are the application's. Trailers (RFC 9110 section 6.5.1), which the parser hands out
        alike, would otherwise be taken for them: an address that a proxy had removed could come back."""
        if self._is_head_too_large() or len(self.pipeline) >= PIPELINED:
            raise Excess
        if not self._is_proven:
            self._is_proven = True
            self._kept.prove(self)
        self._end_head()
        self._is_in_body = True
        self.scope["headers"] = self.headers.copy()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Of a body in chunks, lengths, extensions and trailers are bounded by the body's own size."""
        super().on_body(body)
        self._bare_bytes = max(self._bare_bytes - 2 * len(body), -HEAD_LIMIT)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._end_head()
        self._is_in_head, self._is_in_body = True, False

    def on_response_complete(self) -> None:
        """Strangers are answered before their body is read: it may not hold the connection for as long as it drips."""
        super().on_response_complete()
        if self._is_in_body and not self.transport.is_closing():
            self._head_deadline = self.loop.call_later(HEAD_SECONDS, self._cut)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        self._end_stuck()
        self._kept.discard(self)
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Uvicorn's answer to what cannot be parsed, or is in excess of a bound."""
        self._refuse(TOO_LARGE if self._is_head_too_large() else BAD)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck_deadline = self.loop.call_later(STUCK_SECONDS, self._cut)

    def resume_writing(self) -> None:
        self._end_stuck()
        super().resume_writing()

    def _end_stuck(self) -> None:
        if self._stuck_deadline is not None:
            self._stuck_deadline.cancel()
            self._stuck_deadline = None

    def _end_head(self) -> None:
        self._is_in_head, self._bare_bytes = False, 0
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _is_head_too_large(self) -> bool:
        """What came with it in one piece may be its body."""
        if len(self.headers) > HEADERS_LIMIT:
            return True
        is_large = self._is_in_head and self._bare_bytes > HEAD_LIMIT
        return is_large and len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_LIMIT

    def _refuse(self, answer: bytes) -> None:
        """Says no and closes. Once another answer has begun it would be taken for a part of that."""
        if self._is_answering:
            if self.cycle.response_started or self.pipeline:
                self._cut()
                return
            self.cycle.disconnected = True
        self.transport.write(answer)
        self.transport.close()

    def _cut(self) -> None:
        self.transport.abort()
