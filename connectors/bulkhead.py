"""A bulkhead: how many may run at once, and how many may wait for their turn."""

import asyncio
from collections import deque


class NoRoom(Exception):
    """Too many wait already."""


class NoTurn(Exception):
    """The turn did not come in time."""


class Bulkhead:
    """First come, first served. Bounds may change while somebody runs; those that run already are let go on."""

    __slots__ = ("_queue", "max_running", "max_waiting", "running")

    def __init__(self, *, max_running: int, max_waiting: int) -> None:
        self.max_running = max_running
        self.max_waiting = max_waiting
        self.running = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def is_full(self) -> bool:
        """Whether the next one would be turned away."""
        return self.running >= self.max_running and self.waiting >= self.max_waiting

    def resize(self, *, max_running: int, max_waiting: int) -> None:
        self.max_running = max_running
        self.max_waiting = max_waiting
        self._call_next()

    def enters_at_once(self) -> bool:
        """Whether there was a place without waiting for it. Whoever has entered must `leave`."""
        if self.running >= self.max_running or self._queue:
            return False
        self.running += 1
        return True

    async def enter(self, *, wait_seconds: float | None) -> None:
        """None waits as long as it takes. Whoever has entered must `leave`. Raises NoRoom, NoTurn."""
        if self.enters_at_once():
            return
        if self.is_full:
            raise NoRoom
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(wait_seconds):
                await turn
        except TimeoutError:
            self._give_up(turn)
            raise NoTurn from None
        except BaseException:
            self._give_up(turn)
            raise

    def leave(self) -> None:
        self.running -= 1
        if self._queue:
            self._call_next()

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        """The turn may have come in the very moment of giving up: then it is somebody else's now."""
        if turn.done() and not turn.cancelled():
            self.leave()
        elif turn in self._queue:
            self._queue.remove(turn)

    def _call_next(self) -> None:
        while self._queue and self.running < self.max_running:
            turn = self._queue.popleft()
            if not turn.done():
                self.running += 1
                turn.set_result(None)
