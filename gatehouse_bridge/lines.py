"""Messages as lines: bounded reading, and writing that keeps lines whole though many threads write."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import BinaryIO

LINE_LIMIT = 4 * 1024 * 1024
"""What the gateway takes in one request."""


class TooLong:
    """A line over the limit, of which nothing was kept."""


def read_lines(stream: BinaryIO, limit: int = LINE_LIMIT) -> Iterator[bytes | TooLong]:
    """Without their line ends, blank ones left out. The last one need not be ended."""
    while True:
        line = stream.readline(limit + 2)
        if not line:
            return
        is_ended = line.endswith(b"\n")
        is_cut = not is_ended and len(line) > limit
        line = line.rstrip(b"\r\n")
        if is_cut or len(line) > limit:
            if is_cut:
                _skip_line(stream)
            yield TooLong()
        elif line.strip():
            yield line


def _skip_line(stream: BinaryIO) -> None:
    while rest := stream.readline(65536):
        if rest.endswith(b"\n"):
            return


class Output:
    """Writes to the descriptor itself: a buffer's lock would hold up the end of the program."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._turn = threading.Lock()
        self.is_broken = False

    def write(self, message: bytes) -> None:
        """JSON has no line break inside a string, so one between two tokens may be any white space."""
        line = memoryview(message.translate(_ONE_LINE) + b"\n")
        with self._turn:
            if self.is_broken:
                return
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError:
                self.is_broken = True


_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
