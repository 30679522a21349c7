"""Head and body of an answer leave together."""

import asyncio
from typing import Any

CLOSE_SECONDS = 30.0


class JoinedWrites:
    """A transport for uvicorn, which writes the two apart: the second system call, and waking the client twice, cost
    more than all of HTTP parsing. One write is held for a following one, at most until the event loop's next turn."""

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Asked with each answer, so it does not go by way of `__getattr__`."""
        return self._transport.is_closing()

    def write(self, data: bytes) -> None:
        if self._held is None:
            self._held = data
            self._loop.call_soon(self._flush)
        else:
            held, self._held = self._held, None
            self._send(held + data)

    def write_now(self, data: bytes) -> None:
        """What nothing is to follow."""
        self._flush()
        self._send(data)

    def close(self) -> None:
        """A client that does not take the rest has so long for it: closing alone would wait for ever."""
        self._flush()
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._loop.call_later(CLOSE_SECONDS, self._transport.abort)

    def _flush(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._send(held)

    def _send(self, data: bytes) -> None:
        """A client may have gone since; uvloop raises then."""
        if not self._transport.is_closing():
            self._transport.write(data)
