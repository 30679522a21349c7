"""A lock file in front of SQLite's write lock, for fairness.

BEGIN IMMEDIATE alone is correct, but its waiters poll: a busy group committer starves everybody else for seconds.
`flock` queues in the kernel, so a revocation gets its turn after a few commits.
"""

import fcntl
import os
import threading
import time
from contextlib import suppress
from pathlib import Path


class WriteLockTimeout(Exception):
    """Another process kept the write lock too long."""


class WriteLock:
    """One holder across all processes of a data directory. Not reentrant; one instance per database connection."""

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        self._fd: int | None = None

    def acquire(self, *, timeout_seconds: float = 2.0) -> None:
        """Raises WriteLockTimeout or OSError; then nothing is held."""
        if self._fd is None:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _try_lock(self._fd) and not _wait_for_lock(self._fd, timeout_seconds):
            self._fd = None
            raise WriteLockTimeout(f"another process held {self._path} for over {timeout_seconds:g} s")
        try:
            os.pwrite(self._fd, b"%-20d %-20d\n" % (os.getpid(), time.clock_gettime_ns(_CLOCK)), 0)
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """Takes the holder's name off first: `overdue_holder` must not blame it for the next one's hold."""
        if self._fd is not None:
            with suppress(OSError):
                os.ftruncate(self._fd, 0)
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for_lock(fd: int, timeout_seconds: float) -> bool:
    """Blocks in the kernel's queue on a thread of its own, because flock knows no time-out.

    A waiter that gives up leaves `fd` to that thread, which closes it once the lock arrives.
    """
    settled = threading.Lock()
    arrived = threading.Event()
    abandoned = False

    def wait() -> None:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with settled:
            if abandoned:
                os.close(fd)
            else:
                arrived.set()

    threading.Thread(target=wait, name="write-lock", daemon=True).start()
    arrived.wait(timeout_seconds)
    with settled:
        abandoned = not arrived.is_set()
    return not abandoned


def overdue_holder(path: str | Path, *, limit_seconds: float = 5.0) -> int | None:
    """The process that has held the lock for longer than the limit, e.g. because it is stopped; else None."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if _try_lock(fd):
            return None
        words = os.pread(fd, 64, 0).split()
    finally:
        os.close(fd)
    if len(words) != 2 or not all(word.isdigit() for word in words):
        return None
    held_seconds = (time.clock_gettime_ns(_CLOCK) - int(words[1])) / 1e9
    return int(words[0]) if held_seconds > limit_seconds else None
