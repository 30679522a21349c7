"""Keeps a set of child processes running, and leaves none behind however it ends itself."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.2
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
STEADY_SECONDS = 60.0
ORPHAN_GRACE_SECONDS = 10.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Part:
    """One process to keep running. `argv` is public on the machine, so it never holds a secret.

    The descriptors in `inherit` become the supervisor's, which closes them when it stops.
    """

    name: str
    argv: tuple[str, ...]
    inherit: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class Child:
    """A part and its current process, if it has one."""

    part: Part
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    due_at: float = 0.0
    backoff_seconds: float = FIRST_BACKOFF_SECONDS

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, *, group: int) -> None:
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            self.part.argv,
            stdin=subprocess.DEVNULL,
            pass_fds=self.part.inherit,
            env={**os.environ, **self.part.environment, "GATEHOUSE_PROCESS": self.part.name},
            process_group=group,
        )

    def note_exit(self) -> None:
        """Plans the restart: soon after a long life, ever later for one that keeps falling."""
        assert self.process is not None
        now = time.monotonic()
        if now - self.started_at > STEADY_SECONDS:
            self.backoff_seconds = FIRST_BACKOFF_SECONDS
        self.due_at = now + self.backoff_seconds
        logger.error(
            "%s ended (%s), starts again in %.1f s",
            self.part.name,
            ending(self.process),
            self.backoff_seconds,
        )
        self.backoff_seconds = min(self.backoff_seconds * 2, LONGEST_BACKOFF_SECONDS)
        self.process = None

    def send(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)


class Supervisor:
    """Runs its parts until a stop signal; a second one cuts the drain short.

    `overdue` names a process that holds something the others need for too long (the SQLite write lock); it is
    killed if it is a child of ours.
    """

    def __init__(
        self, parts: Iterable[Part], *, drain_seconds: float, overdue: Callable[[], int | None] = lambda: None
    ) -> None:
        self._children = [Child(part) for part in parts]
        self._drain_seconds = drain_seconds
        self._overdue = overdue
        self._stops = 0

    def run(self) -> int:
        """Exit status: 0 after a clean stop, 1 if a child had to be killed or the guard was lost."""
        with self._listening(), Guard() as guard:
            while not self._stops and guard.is_running:
                self._tend(guard)
                time.sleep(TICK_SECONDS)
            clean = guard.is_running
            return int(not (self._drain() and clean))

    def _tend(self, guard: "Guard") -> None:
        for child in self._children:
            if child.process is not None and not child.is_running:
                child.note_exit()
            if child.process is None and time.monotonic() >= child.due_at:
                child.start(group=guard.group)
        self._end_overdue()

    def _end_overdue(self) -> None:
        pid = self._overdue()
        for child in self._children:
            if child.is_running and child.process is not None and child.process.pid == pid:
                logger.error("%s (pid %d) held the write lock for too long and is killed", child.part.name, pid)
                child.send(signal.SIGKILL)

    def _drain(self) -> bool:
        """Asks every child to end and waits; True if none had to be killed."""
        for descriptor in {number for child in self._children for number in child.part.inherit}:
            os.close(descriptor)
        for child in self._children:
            child.send(signal.SIGTERM)
        deadline = time.monotonic() + self._drain_seconds
        while self._running() and time.monotonic() < deadline and self._stops < 2:
            time.sleep(TICK_SECONDS / 4)
        late = self._running()
        for child in late:
            logger.error("%s did not stop in time and is killed", child.part.name)
            child.send(signal.SIGKILL)
        return not late

    def _running(self) -> list[Child]:
        return [child for child in self._children if child.is_running]

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stops += 1

    @contextmanager
    def _listening(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._stop) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Guard:
    """The process of gateway/guard.py: leader of the children's process group, and their end if we die."""

    def __enter__(self) -> "Guard":
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                str(Path(__file__).with_name("guard.py")),
                str(ORPHAN_GRACE_SECONDS),
            ],
            stdin=subprocess.PIPE,
            process_group=0,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever is still in the group (grandchildren, and the guard itself) ends with it."""
        with suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)
        self._process.communicate()

    @property
    def group(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None


def ending(process: subprocess.Popen[bytes]) -> str:
    status = process.returncode
    return f"status {status}" if status >= 0 else signal.Signals(-status).name
