"""Requests that turn out not to be quick are looked after: for their client's leaving, their cancellation, their
stream's idling. The others cost next to nothing."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

WATCH_AFTER_SECONDS = 0.3
"""In a gateway at its limit all requests take a tenth of a second; watching them would cost what it lacks."""

Watch = Callable[[], Coroutine[Any, Any, None]]


class Attendants:
    """One of each process. All requests wait in one line, with one timer for its first: a timer for each, hardly any of
    which rings, costs as much as reading the request's head."""

    def __init__(self) -> None:
        self._line: deque[Attendance] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def await_turn(self, attendance: "Attendance") -> None:
        self._line.append(attendance)
        if self._timer is None:
            self._timer = attendance.loop.call_at(attendance.due_at, self._look, attendance.loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        line, now = self._line, loop.time()
        while line and (line[0].is_over or line[0].due_at <= now):
            line.popleft().begin()
        self._timer = loop.call_at(line[0].due_at, self._look, loop) if line else None


class Attendance:
    """`watches` run while the block lasts, but not before it has lasted a while."""

    __slots__ = ("_attendants", "_watches", "_watching", "due_at", "is_over", "loop")

    def __init__(self, attendants: Attendants, watches: Sequence[Watch]) -> None:
        self._attendants = attendants
        self._watches = watches
        self._watching: list[asyncio.Task[None]] = []
        self.loop = asyncio.get_running_loop()
        self.due_at = self.loop.time() + WATCH_AFTER_SECONDS
        self.is_over = False

    def __enter__(self) -> None:
        self._attendants.await_turn(self)

    def __exit__(self, *_: object) -> None:
        self.is_over = True
        self._watches = ()
        for task in self._watching:
            task.cancel()

    def begin(self) -> None:
        """Does nothing for what was over before its turn."""
        self._watching.extend(asyncio.create_task(watch()) for watch in self._watches)
