"""An open stream of server messages: what waits to be written, and the one short task that writes it.

Nobody waits for a slow client: what says the same is kept once, and a stream that does not take its messages is cut.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson

from gateway.mcp.http import STREAM_HEADERS, Receive, Send

WAITING_LIMIT = 256
KEEP_ALIVE = b": ping\n\n"


def event_of(message: dict[str, Any]) -> bytes:
    return b"event: message\ndata: %s\n\n" % orjson.dumps(message)


class Stream:
    """One answer that stays open. `hold` runs in the request's own task; everything else only leaves word."""

    __slots__ = ("_is_cut", "_is_ending", "_is_open", "_receive", "_send", "_task", "_waiting", "_writer")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._waiting: list[bytes] = []
        self._writer: asyncio.Task[None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._is_open = False
        self._is_ending = False
        self._is_cut = False

    @property
    def is_over(self) -> bool:
        return self._is_ending or self._is_cut

    async def hold(self, first: Sequence[bytes], headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Opens with `first`, goes on with what waited for that, and returns when the client has gone or the stream was
        ended."""
        self._task = asyncio.current_task()
        try:
            await self._send({"type": "http.response.start", "status": 200, "headers": [*STREAM_HEADERS, *headers]})
            await self._send({"type": "http.response.body", "body": b"".join(first), "more_body": not self._is_cut})
            self._is_open = True
            if self._waiting or self._is_ending:
                self._write_soon()
            while not self._is_cut and (await self._receive())["type"] != "http.disconnect":
                continue
        except asyncio.CancelledError:
            if not self._is_cut or self._task is None:
                raise
            self._task.uncancel()
        finally:
            self._is_cut = True
            if self._writer is not None:
                self._writer.cancel()

    def push(self, event: bytes) -> None:
        if self.is_over or event in self._waiting:
            return
        if len(self._waiting) >= WAITING_LIMIT:
            self.cut()
            return
        self._waiting.append(event)
        self._write_soon()

    def keep_alive(self) -> None:
        """Cuts a stream whose client took nothing since the last time."""
        if KEEP_ALIVE in self._waiting:
            self.cut()
        else:
            self.push(KEEP_ALIVE)

    def end(self, last: bytes = b"") -> None:
        """Says the last word and closes."""
        if self.is_over:
            return
        self._is_ending = True
        if last:
            self._waiting.append(last)
        self._write_soon()

    def end_now(self, last: bytes = b"") -> None:
        """Says nothing of what waited: the client may no longer hear it."""
        if self._writer is not None:
            self.cut()
        else:
            self._waiting.clear()
            self.end(last)

    def cut(self) -> None:
        """At once, whether the client reads or not."""
        if not self._is_cut:
            self._is_cut = True
            if self._task is not None:
                self._task.cancel()

    def _write_soon(self) -> None:
        if self._writer is None and self._is_open:
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._waiting:
                written = len(self._waiting)
                body = b"".join(self._waiting)
                await self._send({"type": "http.response.body", "body": body, "more_body": True})
                del self._waiting[:written]
            if self._is_ending:
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError:
            self.cut()
        finally:
            self._writer = None
