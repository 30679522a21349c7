"""What HTTP mostly is here, done at once: a request whose body came with its head, an answer that is whole.

ASGI passes each in two messages, and uvicorn waits for, checks and writes the two apart. That is a third of what HTTP
costs, and a second system call. Whatever is not whole, or not plain, goes uvicorn's way.
"""

from collections.abc import Awaitable
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway.http_writes import JoinedWrites
from gateway.mcp.http import ARRIVED, Receive, Scope, Send

UVICORNS: Final = frozenset((b"connection", b"transfer-encoding"))
"""Headers that say what becomes of the connection."""


class WholeHttpProtocol(HttpToolsProtocol):
    """Writes to `JoinedWrites`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._idle_since: float | None = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, cast(Any, WholeMessages(app, cycle)))

    def on_response_complete(self) -> None:
        """As in uvicorn, but for the timer: one for each request would cost more than its answer's headers."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_since = self.loop.time()
            if self.timeout_keep_alive_task is None:
                self._look_again_in(self.timeout_keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()

    def timeout_keep_alive_handler(self) -> None:
        """Closes a connection that was idle for so long; one that was not is looked at again when it could be."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._look_again_in(left)
        else:
            super().timeout_keep_alive_handler()

    def _look_again_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        """Something came."""
        self._idle_since = None


class WholeMessages:
    """ASGI application for one request, around the real one."""

    __slots__ = ("_app", "_cycle", "_head", "_length", "_writes")

    def __init__(self, app: Any, cycle: RequestResponseCycle) -> None:
        self._app = app
        self._cycle = cycle
        self._writes = cast(JoinedWrites, cycle.transport)
        self._head: Any = None
        self._length: int | None = None

    def __call__(self, scope: Scope, receive: Receive, _: Send) -> Awaitable[None]:
        scope["extensions"] = {ARRIVED: self.arrived}
        running: Awaitable[None] = self._app(scope, receive, self.send)
        return running

    def arrived(self) -> bytes | None:
        """The whole body, once; None while some of it is to come. `receive` then tells only of the client's leaving."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected or cycle.response_complete:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        cycle.waiting_for_100_continue = False
        cycle.message_event.clear()
        cycle.flow.resume_reading()
        return body

    async def send(self, message: Any) -> None:
        """A head that tells the length of its body waits for it."""
        if message["type"] == "http.response.start" and self._head is None:
            self._end_what_was_not_asked_for()
            self._length = _length(message)
            if self._length is not None:
                self._head = message
                return
        head, self._head = self._head, None
        if head is not None:
            if self._is_written(head, message):
                return
            await self._cycle.send(head)
        await self._cycle.send(message)

    def _end_what_was_not_asked_for(self) -> None:
        """Who waits for `100 Continue` (RFC 9110 section 10.1.1) and gets an answer instead may send its body or not. A
        proxy that does not would have us take its next client's request for it."""
        if self._cycle.waiting_for_100_continue and self._cycle.more_body:
            self._cycle.keep_alive = False

    def _is_written(self, head: Any, message: Any) -> bool:
        """False when that is for uvicorn: then nothing was done."""
        cycle, body = self._cycle, message.get("body", b"")
        is_waiting = cycle.flow.write_paused or cycle.disconnected or cycle.response_started
        if is_waiting or not cycle.keep_alive or cycle.scope["method"] == "HEAD":
            return False
        if message.get("more_body") or message["type"] != "http.response.body" or self._length != len(body):
            return False
        lines = _lines(head["status"], [*cycle.default_headers, *head["headers"]])
        if lines is None:
            return False
        self._writes.write_now(lines + body)
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        cycle.on_response()
        return True


def _length(head: Any) -> int | None:
    for name, value in head["headers"]:
        if name == b"content-length":
            return int(value)
    return None


def _lines(status: int, headers: list[tuple[bytes, bytes]]) -> bytes | None:
    """None where uvicorn has to look at the headers: what is in them must not end its line (response splitting)."""
    parts = [STATUS_LINE[status]]
    for name, value in headers:
        if name in UVICORNS:
            return None
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"\r\n")
    lines = b"".join(parts)
    ends = len(headers) + 2
    return lines if lines.count(b"\r") == lines.count(b"\n") == ends and b"\0" not in lines else None
