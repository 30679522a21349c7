"""The beginning of a process's end. From SIGTERM on no connection is accepted, streams that would never end by
themselves are ended, and what runs has so long to come to its end."""

import time
from collections.abc import Callable

DRAIN_SECONDS = 25


class Drain:
    """Who must act when the process begins to end is told, once."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._acts: list[Callable[[], None]] = []
        self._begun_at: float | None = None

    @property
    def seconds_left(self) -> float:
        """For what still runs; all of it before the draining has begun."""
        passed = 0.0 if self._begun_at is None else self._clock() - self._begun_at
        return max(0.0, DRAIN_SECONDS - passed)

    def on_begin(self, act: Callable[[], None]) -> None:
        self._acts.append(act)

    def begin(self) -> None:
        if self._begun_at is None:
            self._begun_at = self._clock()
            for act in self._acts:
                act()


DRAIN = Drain()
"""A process ends once."""
