"""Uvicorn's HTTP protocol with the bounds it lacks: a request's head is limited in size and time.

Without them a stranger without a key fills the memory of the process, one header line at a time.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT = 64 * 1024
HEAD_SECONDS = 15.0


class BoundedHttpProtocol(HttpToolsProtocol):
    """Cuts a connection whose request head is over 64 KiB or takes over 15 s from its first byte."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_in_head = True
        self._head_bytes = 0
        self._head_deadline: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_deadline is None:
                self._head_deadline = self.loop.call_later(HEAD_SECONDS, self._cut)
        super().data_received(data)
        if self._is_in_head and self._head_bytes > HEAD_LIMIT:
            self._cut()

    def on_message_begin(self) -> None:
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._end_head()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._is_in_head, self._head_bytes = True, 0

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        super().connection_lost(exc)

    def _end_head(self) -> None:
        self._is_in_head, self._head_bytes = False, 0
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _cut(self) -> None:
        self.transport.abort()
