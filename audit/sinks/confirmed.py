"""One batch over one TLS connection, and what a stream can prove of its arrival.

After the last byte we end the TLS session and our half of the connection, and wait for the other side to end its own.
An answer in TLS before ours, an alert, a reset, no end in time: each means that nothing is known. A process that
closes a connection with bytes unread resets it (RFC 1122 section 4.2.2.13), so that a clean end says that it has read
every byte; the kernel adds that the other side's has confirmed all of them.

The session is driven here, not by SSLSocket: its `unwrap` takes a fatal alert for a clean end.
"""

import fcntl
import socket
import ssl
import struct
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

WRITE_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 20.0
"""For the handshake, and for the other side's end once everything is written."""
ENDED_EARLY: Final = "It ended the connection before everything was sent."
PART_BYTES: Final = 64 * 1024
MOST_HEARD_BYTES: Final = 1024 * 1024
"""Certificates, tickets and an end are all that a receiver has to say."""


def deliver(content: bytes, plain: socket.socket, tls: ssl.SSLContext, *, host: str, signed_end: bool) -> None:
    """Returns once the receiver at the other end of the connected socket has read all of it. Raises OSError.

    With `signed_end` its end must be one in TLS, which nobody on the way can make.
    """
    conversation = Conversation(plain, tls, host)
    conversation.open(ends_at=time.monotonic() + ANSWER_SECONDS)
    conversation.write(content, ends_at=time.monotonic() + WRITE_SECONDS)
    is_signed = conversation.end(ends_at=time.monotonic() + ANSWER_SECONDS)
    if signed_end and not is_signed:
        raise NotProven("It ended the connection, but not its TLS session.")


class NotProven(ConnectionError):
    """The message says what the receiver did; it is safe to show."""


class Conversation:
    """A TLS session over a connected socket that says once what it has to say."""

    def __init__(self, plain: socket.socket, tls: ssl.SSLContext, host: str) -> None:
        self._plain = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = tls.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._ends_at = 0.0
        self._heard_bytes = 0

    def open(self, *, ends_at: float) -> None:
        self._ends_at = ends_at
        while self._wants_more(self._tls.do_handshake):
            self._flush()
            if not self._receive():
                raise NotProven(ENDED_EARLY)
        self._flush()

    def write(self, content: bytes, *, ends_at: float) -> None:
        self._ends_at = ends_at
        view = memoryview(content)
        for start in range(0, len(view), PART_BYTES):
            self._tls.write(view[start : start + PART_BYTES])
            self._flush()

    def end(self, *, ends_at: float) -> bool:
        """Whether the other side ended its TLS session too, and not the connection alone."""
        self._ends_at = ends_at
        self._take_what_came()
        if self._has_ended():
            raise NotProven(ENDED_EARLY)
        # Nothing that came is left unread, so this sends our end and can do no more.
        self._wants_more(self._tls.unwrap)
        self._flush()
        self._plain.shutdown(socket.SHUT_WR)
        is_signed = False
        while self._receive():
            is_signed = self._has_ended()
        self._wait_until_confirmed()
        return is_signed

    def _wants_more(self, act: Callable[[], Any]) -> bool:
        try:
            act()
        except ssl.SSLWantReadError:
            return True
        return False

    def _has_ended(self) -> bool:
        """Reads what has come; a receiver has nothing to tell. Raises ssl.SSLError for an alert."""
        try:
            while self._tls.read(PART_BYTES):
                continue
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLZeroReturnError:
            return True
        return True

    def _flush(self) -> None:
        if sealed := self._outgoing.read():
            self._plain.settimeout(self._remaining())
            self._plain.sendall(sealed)

    def _receive(self) -> bool:
        """False at the end of the connection."""
        self._plain.settimeout(self._remaining())
        return self._hear(self._plain.recv(PART_BYTES))

    def _hear(self, sealed: bytes) -> bool:
        self._heard_bytes += len(sealed)
        if self._heard_bytes > MOST_HEARD_BYTES:
            raise NotProven("It talks where it should listen.")
        self._incoming.write(sealed)
        return bool(sealed)

    def _take_what_came(self) -> None:
        self._plain.setblocking(False)
        with suppress(BlockingIOError):
            while self._hear(self._plain.recv(PART_BYTES)):
                continue
            raise NotProven(ENDED_EARLY)

    def _remaining(self) -> float:
        remaining = self._ends_at - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        return remaining

    def _wait_until_confirmed(self) -> None:
        """A receiver that closed before our last bytes came has reset the connection: that may be on its way still."""
        while True:
            if failed := self._plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(failed, "reset")
            if not _unconfirmed_bytes(self._plain):
                return
            time.sleep(min(0.01, self._remaining()))


def _unconfirmed_bytes(plain: socket.socket) -> int:
    """What of our writing the other side's kernel has not confirmed yet; only Linux tells."""
    if sys.platform != "linux":
        return 0
    held = fcntl.ioctl(plain.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
    return int(struct.unpack("i", held)[0])
