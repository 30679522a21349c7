"""The circuit breaker against a model of it, under any order of failures, successes, checks and time."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from connectors.breaker import (
    CHECKING,
    CLOSED,
    FAILURES_TO_OPEN,
    FIRST_PAUSE_SECONDS,
    JITTER,
    LONGEST_PAUSE_SECONDS,
    OPEN,
    Breaker,
)


class BreakerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.chance = 0.5
        self.breaker = Breaker(clock=lambda: self.now, chance=lambda: self.chance)
        self.failures = 0
        self.failed_checks = 0
        self.not_before = 0.0

    @rule()
    def a_call_succeeds(self) -> None:
        was = self.breaker.status
        self.breaker.note_success()
        assert self.breaker.status == was, "only a check closes it"
        self.failures = 0 if was == CLOSED else self.failures

    @rule()
    def a_call_fails(self) -> None:
        was_closed = self.breaker.is_closed
        self.breaker.note_failure()
        if was_closed:
            self.failures += 1
            assert self.breaker.is_closed == (self.failures < FAILURES_TO_OPEN)
            assert self.breaker.is_closed or self.breaker.is_due, "the first check is due at once"

    @rule(seconds=st.floats(0, 100))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.breaker.is_due)
    @rule()
    def a_check_begins(self) -> None:
        assert self.now >= self.not_before
        self.breaker.begin_check()
        assert not self.breaker.is_due, "one check at a time"

    @precondition(lambda self: self.breaker.status == CHECKING)
    @rule()
    def the_check_passes(self) -> None:
        self.breaker.end_check(passed=True)
        assert self.breaker.is_closed
        self.failures = self.failed_checks = 0
        self.not_before = 0.0

    @precondition(lambda self: self.breaker.status == CHECKING)
    @rule(chance=st.floats(0, 1))
    def the_check_fails(self, chance: float) -> None:
        self.chance = chance
        self.breaker.end_check(passed=False)
        usual = min(FIRST_PAUSE_SECONDS * 2**self.failed_checks, LONGEST_PAUSE_SECONDS)
        assert self.breaker.status == OPEN
        assert usual * (1 - JITTER) - 1e-6 <= self.breaker.due_in_seconds <= usual * (1 + JITTER) + 1e-6
        self.not_before = self.now + self.breaker.due_in_seconds - 1e-6
        self.failed_checks += 1

    @invariant()
    def failures_in_a_row_open_it_and_nothing_else(self) -> None:
        if self.breaker.is_closed:
            assert self.breaker.failures == self.failures < FAILURES_TO_OPEN
        assert self.breaker.due_in_seconds <= LONGEST_PAUSE_SECONDS * (1 + JITTER)


TestBreakerMachine = BreakerMachine.TestCase


@pytest.mark.parametrize("between", [0, 1, 3])
def test_successes_in_between_keep_it_closed(between: int) -> None:
    breaker = Breaker()
    for _ in range(50):
        for _ in range(FAILURES_TO_OPEN - 1):
            breaker.note_failure()
        for _ in range(between):
            breaker.note_success()
        if between:
            assert breaker.is_closed
    assert breaker.is_closed == bool(between)
