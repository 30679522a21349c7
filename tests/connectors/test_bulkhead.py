"""The bulkhead under any order of arrivals, departures, giving up and changed bounds."""

import asyncio

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from connectors.bulkhead import Bulkhead, NoRoom, NoTurn

LONG = 1_000_000.0


class BulkheadMachine(RuleBasedStateMachine):
    """Tasks enter, stay until told to leave, and may be cancelled; after each step the event loop comes to rest."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.max_running, self.max_waiting = 3, 2
        self.bulkhead = Bulkhead(max_running=3, max_waiting=2)
        self.inside: list[int] = []
        self.order: list[int] = []
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.doors: dict[int, asyncio.Event] = {}
        self.count = 0

    async def visit(self, number: int) -> None:
        await self.bulkhead.enter(wait_seconds=LONG)
        self.inside.append(number)
        try:
            await self.doors[number].wait()
        finally:
            self.inside.remove(number)
            self.bulkhead.leave()

    def rest(self) -> None:
        async def rest() -> None:
            for _ in range(12):
                await asyncio.sleep(0)

        self.loop.run_until_complete(rest())
        for number, task in list(self.tasks.items()):
            if task.done():
                del self.tasks[number]
                if not task.cancelled():
                    assert isinstance(task.exception(), NoRoom | None)

    @rule(number=st.integers(1, 4))
    def arrive(self, number: int) -> None:
        for _ in range(number):
            self.count += 1
            self.doors[self.count] = asyncio.Event()
            self.tasks[self.count] = self.loop.create_task(self.visit(self.count))
        self.rest()

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.doors[data.draw(st.sampled_from(self.inside))].set()
        self.rest()

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), is_leaving=st.booleans())
    def give_up_while_somebody_leaves(self, data: st.DataObject, is_leaving: bool) -> None:
        """Both in the same step: the turn may come to one who is just giving up."""
        if self.inside and is_leaving:
            self.doors[self.inside[0]].set()
            self.loop.run_until_complete(asyncio.sleep(0))
        alive = sorted(self.tasks)
        self.tasks[data.draw(st.sampled_from(alive))].cancel()
        self.rest()

    @rule(max_running=st.integers(1, 5), max_waiting=st.integers(0, 4))
    def change_bounds(self, max_running: int, max_waiting: int) -> None:
        grows = max_running >= self.max_running
        before = len(self.inside)
        self.max_running, self.max_waiting = max_running, max_waiting
        self.bulkhead.resize(max_running=max_running, max_waiting=max_waiting)
        self.rest()
        assert grows or len(self.inside) <= before or len(self.inside) <= max_running

    @invariant()
    def counts_are_true_and_nobody_waits_in_vain(self) -> None:
        assert self.bulkhead.running == len(self.inside)
        assert self.bulkhead.waiting == len(self.tasks) - len(self.inside)
        assert not self.bulkhead.waiting or self.bulkhead.running >= self.bulkhead.max_running

    @invariant()
    def first_come_is_first_served(self) -> None:
        waiting = [number for number in self.tasks if number not in self.inside]
        newest_inside = max(self.inside, default=0)
        assert all(number > newest_inside for number in waiting)

    def teardown(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        self.rest()
        assert self.bulkhead.running == self.bulkhead.waiting == 0
        self.loop.close()


TestBulkheadMachine = BulkheadMachine.TestCase


async def test_never_more_run_than_may() -> None:
    bulkhead, most = Bulkhead(max_running=4, max_waiting=1000), 0

    async def visit() -> None:
        nonlocal most
        await bulkhead.enter(wait_seconds=LONG)
        most = max(most, bulkhead.running)
        await asyncio.sleep(0)
        bulkhead.leave()

    await asyncio.gather(*(visit() for _ in range(300)))
    assert (most, bulkhead.running, bulkhead.waiting) == (4, 0, 0)


async def test_who_finds_no_room_is_turned_away_and_who_waits_too_long_gives_up() -> None:
    bulkhead = Bulkhead(max_running=1, max_waiting=1)
    await bulkhead.enter(wait_seconds=0)
    with pytest.raises(NoTurn):
        await bulkhead.enter(wait_seconds=0)
    waiting = asyncio.create_task(bulkhead.enter(wait_seconds=LONG))
    await asyncio.sleep(0)
    assert bulkhead.is_full
    with pytest.raises(NoRoom):
        await bulkhead.enter(wait_seconds=LONG)
    bulkhead.leave()
    await waiting
    assert (bulkhead.running, bulkhead.waiting) == (1, 0)
