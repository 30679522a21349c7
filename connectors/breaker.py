"""A circuit breaker: an upstream that fails again and again gets no more calls until it has passed a check."""

import random
import time
from collections.abc import Callable
from typing import Final

FAILURES_TO_OPEN: Final = 5
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0
JITTER: Final = 0.2

CLOSED, OPEN, CHECKING = "closed", "open", "checking"


class Breaker:
    """Opens after failures in a row and is due for a check at once: whoever makes single calls fail on purpose must
    not be able to take a healthy upstream away from everybody else. Each check that fails doubles the pause until the
    next one, give or take a fifth, so that the processes of an installation do not all knock at the same moment."""

    __slots__ = ("_chance", "_clock", "_due_at", "_failed_checks", "failures", "status")

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, chance: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._due_at = 0.0
        self._failed_checks = 0
        self.failures = 0
        self.status = CLOSED

    @property
    def is_closed(self) -> bool:
        """Whether calls may pass."""
        return self.status == CLOSED

    @property
    def is_due(self) -> bool:
        """Whether a check should begin now."""
        return self.status == OPEN and self._clock() >= self._due_at

    @property
    def due_in_seconds(self) -> float:
        """Until the next check; 0 unless open."""
        return max(0.0, self._due_at - self._clock()) if self.status == OPEN else 0.0

    def note_success(self) -> None:
        """Once open, only a check closes it again: this may be the answer to a call of long ago."""
        if self.status == CLOSED:
            self.failures = 0

    def note_failure(self) -> None:
        if self.status != CLOSED:
            return
        self.failures += 1
        if self.failures >= FAILURES_TO_OPEN:
            self.status = OPEN
            self._due_at = self._clock()

    def begin_check(self) -> None:
        self.status = CHECKING

    def end_check(self, *, passed: bool) -> None:
        if passed:
            self.status = CLOSED
            self.failures = self._failed_checks = 0
            return
        pause = min(FIRST_PAUSE_SECONDS * 2.0 ** min(self._failed_checks, 16), LONGEST_PAUSE_SECONDS)
        self._failed_checks += 1
        self.status = OPEN
        self._due_at = self._clock() + pause * (1 - JITTER + 2 * JITTER * self._chance())
