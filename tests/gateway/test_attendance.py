"""Quick requests are let alone, the others are looked after, each from its own time on."""

import asyncio
from contextlib import ExitStack

import pytest

from gateway.mcp import attendance
from gateway.mcp.attendance import Attendance, Attendants


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attendance, "WATCH_AFTER_SECONDS", 0.01)


class Watched:
    """A request; `has_begun` once somebody looks after it."""

    def __init__(self, attendants: Attendants) -> None:
        self.has_begun, self.has_ended = asyncio.Event(), asyncio.Event()
        self.attended = Attendance(attendants, [self._watch])

    async def _watch(self) -> None:
        self.has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.has_ended.set()


async def test_who_was_quick_is_let_alone_whoever_else_stands_in_line() -> None:
    attendants = Attendants()
    requests = [Watched(attendants) for _ in range(6)]
    with ExitStack() as slow:
        for number, request in enumerate(requests):
            if number % 3:
                with request.attended:
                    pass
            else:
                slow.enter_context(request.attended)
        for request in requests[::3]:
            await asyncio.wait_for(request.has_begun.wait(), 20)
    assert [request.has_begun.is_set() for request in requests] == [True, False, False] * 2


async def test_the_line_is_looked_at_again_after_it_was_empty() -> None:
    attendants = Attendants()
    for _ in range(3):
        request = Watched(attendants)
        with request.attended:
            await asyncio.wait_for(request.has_begun.wait(), 20)
        await asyncio.wait_for(request.has_ended.wait(), 20)


async def test_many_requests_have_one_timer() -> None:
    attendants = Attendants()
    with ExitStack() as all_of_them:
        for _ in range(50):
            all_of_them.enter_context(Watched(attendants).attended)
        timers = [handle for handle in asyncio.get_running_loop()._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        assert len(timers) == 1
