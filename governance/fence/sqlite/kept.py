"""Connections that outlive their request: a new one reads the whole schema, which takes longer than most requests do.

Under ASGI each request has a thread of its own, and Django's connections belong to threads; so the pages process keeps
what a request gives back for the next one. Nothing is kept where nobody asked for it.
"""

import os
import sqlite3
import threading
import time
from typing import NamedTuple

LONGEST_SECONDS = 60.0
"""Since it was opened: whatever a request left behind in one ends with it."""


class Kept(NamedTuple):
    connection: sqlite3.Connection
    opened_at: float
    process: int

    @property
    def is_old(self) -> bool:
        return time.monotonic() - self.opened_at >= LONGEST_SECONDS


class KeptConnections:
    """At most so many of a file wait for their next user; none by default."""

    def __init__(self, most: int = 0) -> None:
        self.most = most
        self._waiting: dict[str, list[Kept]] = {}
        self._lock = threading.Lock()

    def take(self, file: str) -> Kept | None:
        """Never one of the process that this was forked from."""
        while (kept := self._newest(file)) is not None:
            if kept.process != os.getpid():
                continue
            if not kept.is_old:
                return kept
            kept.connection.close()
        return None

    def give(self, file: str, kept: Kept) -> bool:
        """False if it is to be closed: it is old, something is open in it, or enough wait already."""
        if kept.is_old or kept.connection.in_transaction:
            return False
        with self._lock:
            waiting = self._waiting.setdefault(file, [])
            if len(waiting) >= self.most:
                return False
            waiting.append(kept)
            return True

    def _newest(self, file: str) -> Kept | None:
        with self._lock:
            waiting = self._waiting.get(file)
            return waiting.pop() if waiting else None


def opened_now(connection: sqlite3.Connection) -> Kept:
    return Kept(connection, time.monotonic(), os.getpid())


KEPT = KeptConnections()
