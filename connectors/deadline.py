"""A timeout for one thing after another."""

import asyncio
from types import TracebackType


class Deadline:
    """What `asyncio.timeout` does, for exchanges that follow one another and mostly end long before their time: the
    timer of one is left to ring for the next, which then sets it anew for what is left, instead of a timer made and
    withdrawn for each. Belongs to one task at a time.

    Raises TimeoutError where time is up, and takes back the cancellation by which it interrupted the task, but nobody
    else's.
    """

    __slots__ = ("_cancels", "_ends_at", "_has_expired", "_is_last", "_loop", "_rings_at", "_task", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ends_at = 0.0
        self._rings_at = 0.0
        self._cancels = 0
        self._has_expired = False
        self._is_last = False

    def until(self, ends_at: float) -> "Deadline":
        """`with deadline.until(...)`: a time of the loop's clock."""
        self._ends_at = ends_at
        return self

    def __enter__(self) -> None:
        task = asyncio.current_task(self._loop)
        assert task is not None, "a deadline interrupts a task"
        self._cancels = task.cancelling()
        self._has_expired = False
        self._task = task
        self._set_timer()

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self._is_last:
            self._withdraw_timer()
        if not self._has_expired or task is None:
            return
        if task.uncancel() <= self._cancels and kind is asyncio.CancelledError:
            raise TimeoutError from raised

    def expired(self) -> bool:
        return self._has_expired

    def reschedule(self, when: float, /) -> None:
        """Has no effect once time was up."""
        if not self._has_expired:
            self._ends_at = when
            self._set_timer()

    def close(self) -> None:
        """No other exchange will follow. The one that runs, if any, still ends in time."""
        self._is_last = True
        if self._task is None:
            self._withdraw_timer()

    def _set_timer(self) -> None:
        """What uvloop gives for a moment that is almost now does not tell when it rings."""
        if self._timer is None or self._rings_at > self._ends_at:
            self._withdraw_timer()
            self._rings_at = self._ends_at
            self._timer = self._loop.call_at(self._ends_at, self._ring)

    def _withdraw_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        if self._task is None:
            return
        if self._loop.time() < self._ends_at:
            self._set_timer()
        else:
            self._has_expired = True
            self._task.cancel()
