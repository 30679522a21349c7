"""One HTTP/1.1 client connection on the event loop: small, bounded, and exact about what was sent.

Ours, because no library at hand gives all three the data path needs: a cancelled call closes its socket at
once, a request is never written twice, and a failure knows whether a single byte of the request can have
left.
"""

import asyncio
import select
from collections import deque
from collections.abc import Callable
from typing import Protocol

import httptools

from connectors.base import UpstreamFailure, too_large
from connectors.deadline import Deadline

HEAD_BYTES = 64 * 1024
HEADER_FIELDS = 128
BUFFER_BYTES = 256 * 1024
FRAMING_PER_BODY_BYTE = 16
DRAIN_BYTES = 64 * 1024
DRAIN_SECONDS = 1.0

_IDLE, _WAITING, _BODY, _ENDED, _DRAINING, _CLOSED = range(6)


class Answer(Protocol):
    """An upstream's answer whose head has arrived and whose body may still be on its way."""

    status: int
    headers: dict[str, str]
    deadline: Deadline
    """When reading has to be over; who reads may move it."""

    async def whole(self, *, at_most: int) -> bytes:
        """The whole body. Raises UpstreamFailure when it breaks off or is more than `at_most` bytes."""

    async def chunk(self) -> bytes | None:
        """The next piece of the body; None once it is complete. Raises UpstreamFailure when it breaks off."""


class Connection(asyncio.Protocol):
    """Carries one request at a time and is itself the Answer to it."""

    __slots__ = (
        "_body_bytes",
        "_buffered",
        "_chunks",
        "_drain_timer",
        "_ended",
        "_failure",
        "_fed_bytes",
        "_fields",
        "_keeps_alive",
        "_loop",
        "_on_idle",
        "_parser",
        "_paused",
        "_poll",
        "_state",
        "_transport",
        "_until_close",
        "_waiter",
        "address",
        "deadline",
        "headers",
        "idle_since",
        "status",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, *, address: object) -> None:
        self.address = address
        self.deadline = Deadline(loop)
        self.idle_since = loop.time()
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._failure: UpstreamFailure | None = None
        self._drain_timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._state = _IDLE
        self._expect_answer()

    def _expect_answer(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._fields = self._fed_bytes = self._body_bytes = self._buffered = 0
        self._ended = self._keeps_alive = self._until_close = False

    # -- what the egress does with it

    def is_usable(self, *, idle_seconds: float) -> bool:
        """Idle, young enough, and nothing to read: an end of stream the loop has not seen yet counts as
        closed."""
        if self._state != _IDLE or self._loop.time() - self.idle_since > idle_seconds:
            return False
        return not self._poll.poll(0)

    async def send(self, request: bytes) -> None:
        """Writes the whole request once and waits for the head of the answer. Raises UpstreamFailure."""
        if self._state == _CLOSED:
            raise UpstreamFailure("connect_failed", "The upstream closed the connection at once.", reached=False)
        self._expect_answer()
        self._state = _WAITING
        self._transport.write(request)
        await self._more()
        if self._failure is not None:
            raise self._failure

    async def whole(self, *, at_most: int) -> bytes:
        pieces = []
        while self._chunks or not self._ended:
            if self._chunks:
                pieces.append(self._take())
            elif self._failure is not None:
                raise self._failure
            else:
                await self._more()
            if self._body_bytes > at_most:
                raise too_large()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def chunk(self) -> bytes | None:
        while not self._chunks:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return None
            await self._more()
        return self._take()

    def release(self, on_idle: Callable[["Connection"], None]) -> None:
        """Ends a good exchange. What the upstream still sends (the end of an event stream) is thrown away
        for a moment; then the connection is handed to `on_idle`, or cut if it does not come to rest."""
        self._on_idle = on_idle
        if self._state == _ENDED and not self._chunks:
            self._rest()
        elif self._state == _BODY:
            self._state = _DRAINING
            self._take()
            self._drain_timer = self._loop.call_later(DRAIN_SECONDS, self.abort)
        else:
            self.abort()

    def abort(self) -> None:
        """Closes at once, which is also how a call in flight is cancelled upstream."""
        self._state = _CLOSED
        self._stop_draining()
        self.deadline.close()
        self._transport.abort()

    # -- what the event loop does with it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # TCP and TLS transports are both
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        self._fed_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._break("bad_answer", "The upstream did not answer in proper HTTP.")
        if self._fed_bytes - self._body_bytes > HEAD_BYTES + FRAMING_PER_BODY_BYTE * self._body_bytes:
            self._break("too_large", "The upstream's HTTP headers are too large.")
        if self._state != _WAITING:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._state == _WAITING:
            self._break("reset", "The upstream closed the connection without an answer.")
        elif self._state == _BODY and exc is None and self._until_close:
            self._ended = True
        elif self._state == _BODY:
            self._break("reset", "The upstream broke off in the middle of its answer.")
        self._state = _CLOSED
        self._stop_draining()
        self.deadline.close()
        self._wake()

    # -- what the parser reports; an error raised here makes it refuse the bytes

    def on_message_begin(self) -> None:
        """A message nobody asked for is response smuggling: nothing on this connection can be trusted
        then."""
        if self._state != _WAITING:
            raise ValueError("unexpected message")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        if self._fields > HEADER_FIELDS:
            raise ValueError("too many header fields")
        if self._state == _WAITING:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self.headers = {}
            return
        self.status = status
        self._keeps_alive = self._parser.should_keep_alive()
        framed = "content-length" in self.headers or "transfer-encoding" in self.headers
        self._until_close = not framed and status not in (204, 304)
        self._state = _BODY

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._buffered += len(body)
        if self._state == _BODY:
            self._chunks.append(body)
            if self._buffered > BUFFER_BYTES and not self._paused:
                self._paused = True
                self._transport.pause_reading()
        elif self._buffered > DRAIN_BYTES:
            self.abort()

    def on_message_complete(self) -> None:
        if self._state == _BODY:
            self._state = _ENDED
            self._ended = True
        elif self._state == _DRAINING:
            self._rest()

    # -- within

    def _rest(self) -> None:
        self._stop_draining()
        if not self._keeps_alive:
            self.abort()
            return
        self._state = _IDLE
        self.idle_since = self._loop.time()
        self._on_idle(self)

    def _stop_draining(self) -> None:
        if self._drain_timer is not None:
            self._drain_timer.cancel()
            self._drain_timer = None

    def _take(self) -> bytes:
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return body

    def _more(self) -> "asyncio.Future[None]":
        """Done once there is more than now: a head, a piece of the body, an end."""
        self._waiter = self._loop.create_future()
        return self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _break(self, code: str, message: str) -> None:
        if self._failure is None:
            self._failure = UpstreamFailure(code, message, reached=True)
        self.abort()
