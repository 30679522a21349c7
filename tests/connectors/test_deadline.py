"""Our deadline against `asyncio.timeout`, on a clock that moves only when everybody waits."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from connectors.deadline import Deadline

Exchange = tuple[int, list[tuple[int, int | None]]]
"""Its limit, then pauses, each with a new limit from there on or none."""
SOON_AFTER = 0.25
"""So that a limit and the end of a pause are never the same moment."""


class QuickSelector(selectors.SelectSelector):
    """Does not wait: it moves the clock."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0.0
        return super().select(0)


class QuickLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = QuickSelector()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


def run_quickly(story: Callable[[], Awaitable[Any]]) -> Any:
    with asyncio.Runner(loop_factory=QuickLoop) as runner:
        return runner.run(story())  # type: ignore[arg-type]  # a coroutine function's result is a coroutine


async def live_through(pauses: list[tuple[int, int | None]], reschedule: Callable[[float], None]) -> None:
    loop = asyncio.get_running_loop()
    for seconds, limit in pauses:
        await asyncio.sleep(seconds)
        if limit is not None:
            reschedule(loop.time() + limit + SOON_AFTER)


async def by_asyncio(limit: float, pauses: list[tuple[int, int | None]]) -> None:
    async with asyncio.timeout_at(limit) as scope:
        await live_through(pauses, scope.reschedule)


async def outcomes(exchanges: list[Exchange], run: Callable[..., Awaitable[None]]) -> list[tuple[str, float, int]]:
    loop, task, seen = asyncio.get_running_loop(), asyncio.current_task(), []
    assert task is not None
    for limit, pauses in exchanges:
        try:
            await run(loop.time() + limit + SOON_AFTER, pauses)
            seen.append(("ended", loop.time(), task.cancelling()))
        except TimeoutError:
            seen.append(("too late", loop.time(), task.cancelling()))
    return seen


limits = st.integers(0, 12)
exchange_lists = st.lists(
    st.tuples(limits, st.lists(st.tuples(st.integers(0, 6), st.none() | limits), max_size=4)), max_size=6
)


@given(exchange_lists)
def test_one_deadline_after_another_is_as_good_as_a_timeout_for_each(exchanges: list[Exchange]) -> None:
    async def ours() -> list[tuple[str, float, int]]:
        deadline = Deadline(asyncio.get_running_loop())

        async def by_deadline(limit: float, pauses: list[tuple[int, int | None]]) -> None:
            with deadline.until(limit):
                await live_through(pauses, deadline.reschedule)

        return await outcomes(exchanges, by_deadline)

    assert run_quickly(ours) == run_quickly(lambda: outcomes(exchanges, by_asyncio))


@pytest.mark.parametrize("is_late", [False, True])
def test_a_cancellation_by_somebody_else_is_not_taken_back(is_late: bool) -> None:
    async def story() -> tuple[bool, bool]:
        loop = asyncio.get_running_loop()
        deadline = Deadline(loop)

        async def wait() -> None:
            with deadline.until(loop.time() + 5):
                await asyncio.sleep(100)

        task = asyncio.create_task(wait())
        await asyncio.sleep(1)
        if is_late:
            loop.call_at(5, task.cancel)
        else:
            task.cancel()
        await asyncio.wait((task,))
        return task.cancelled(), deadline.expired()

    assert run_quickly(story) == (True, is_late)


def test_closing_it_does_not_let_go_of_what_runs() -> None:
    async def story() -> float:
        loop = asyncio.get_running_loop()
        deadline = Deadline(loop)
        loop.call_at(1, deadline.close)

        async def wait() -> None:
            with deadline.until(loop.time() + 5):
                await asyncio.sleep(100)

        with pytest.raises(TimeoutError):
            await wait()
        return loop.time()

    assert run_quickly(story) == 5


def test_it_does_not_ring_for_a_task_that_is_through() -> None:
    async def story() -> float:
        loop = asyncio.get_running_loop()
        deadline = Deadline(loop)
        with deadline.until(loop.time() + 5):
            pass
        await asyncio.sleep(10)
        return loop.time()

    assert run_quickly(story) == 10


def test_an_exchange_may_follow_one_that_ended_in_its_very_last_moment() -> None:
    """uvloop makes no timer for what is due at once."""

    async def story() -> bool:
        loop = asyncio.get_running_loop()
        deadline = Deadline(loop)
        with deadline.until(loop.time()):
            pass
        with deadline.until(loop.time() + 100):
            await asyncio.sleep(0.01)
        deadline.close()
        return deadline.expired()

    assert uvloop.run(story()) is False
