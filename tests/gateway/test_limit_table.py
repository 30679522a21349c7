"""Rate limits over a real database: two processes, each with its own connection, never let more pass together."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from connectors.base import UpstreamFailure
from gateway.database import DatabaseThread
from gateway.limit_table import LimitTable, Subject
from gateway.limits import Allowance, Limits
from gateway.models import GatewayProcess, LimitPlaces, LimitUse
from gateway.refusals import Refusal
from governance import snapshot
from governance.fence.actor import governed_change
from governance.models import RateLimit
from tests.fresh_database import fresh_database
from tests.gateway.limit_world import call, limit

__all__ = ("fresh_database",)

pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]

NOON = 1_767_268_800.0
SUBJECT = Subject(limit().id, "agent-triage-bot")


class Process:
    """One gateway process as far as limits go."""

    def __init__(self) -> None:
        self.id = uuid4()
        self.now = NOON
        self.thread = DatabaseThread("limits")
        self.limits = Limits(LimitTable(self.id), self.thread.run, clock=lambda: self.now)

    async def register(self) -> None:
        await self.thread.run(lambda: register(self.id))

    def allowance(self) -> Allowance:
        return Allowance(self.limits, lambda _: False)


def register(process_id: UUID, *, silent_for: float = 0) -> None:
    now = datetime.now(UTC)
    beat_at = now - timedelta(seconds=silent_for)
    GatewayProcess.objects.create(id=process_id, host="h", pid=1, started_at=now, beat_at=beat_at)


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Process, Process]]:
    made = Process(), Process()
    for each in made:
        await each.register()
    yield made
    for each in made:
        await each.thread.close()


class Crowd:
    """Many calls at many processes; counts what passed and how many ran at the same moment."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()
        self.running = self.most = 0

    async def call(self, process: Process, *limits: snapshot.RateLimit, steps: int = 1) -> None:
        try:
            with process.allowance() as allowance:
                await allowance.take(call(*limits))
                self.running += 1
                self.most = max(self.most, self.running)
                for _ in range(steps):
                    await asyncio.sleep(0.001)
                self.running -= 1
                self.told["yes"] += 1
        except Refusal as refusal:
            self.told[str(refusal.facts["used_up"])] += 1


@pytest.mark.parametrize("maximum", [1, 7, 100])
async def test_two_processes_spend_a_limit_together_and_no_more(pair: tuple[Process, Process], maximum: int) -> None:
    crowd, few = Crowd(), limit(max_requests=maximum)
    await asyncio.gather(*(crowd.call(process, few) for _ in range(maximum + 20) for process in pair))
    assert crowd.told["yes"] <= maximum
    for process in pair:
        await process.limits.beat()
        await process.limits.beat()
        process.now += 2
    await asyncio.gather(*(crowd.call(pair[0], few) for _ in range(maximum + 20)))
    assert crowd.told["yes"] == maximum


@pytest.mark.parametrize("maximum", [1, 3, 20])
async def test_two_processes_never_run_more_at_once(pair: tuple[Process, Process], maximum: int) -> None:
    """Sixty calls at each; whoever finds no place waits, so that (within the waiting time) all of them pass."""
    crowd, narrow = Crowd(), limit(max_running=maximum)
    await asyncio.gather(*(crowd.call(process, narrow, steps=2) for _ in range(60) for process in pair))
    assert 0 < crowd.most <= maximum
    assert crowd.told["yes"] == 120


async def test_a_place_that_one_process_leaves_is_free_for_the_other(pair: tuple[Process, Process]) -> None:
    one, other = pair
    crowd, alone = Crowd(), limit(max_running=1)
    for _ in range(5):
        await crowd.call(one, alone)
        await crowd.call(other, alone)
    assert crowd.told == {"yes": 10}


async def test_the_places_of_a_dead_process_are_free(pair: tuple[Process, Process]) -> None:
    one, other = pair
    table, wide = LimitTable(one.id), limit(max_running=8)
    with one.allowance() as allowance:
        await allowance.take(call(wide))

        def all_the_rest() -> int:
            return sum(
                LimitTable(other.id).take_places(Subject(wide.id, SUBJECT.name), held=n, maximum=8) for n in range(8)
            )

        assert await other.thread.run(all_the_rest) == 7
        await other.thread.run(lambda: GatewayProcess.objects.filter(id=one.id).update(ended_at=datetime.now(UTC)))
        left = await other.thread.run(
            lambda: LimitTable(other.id).take_places(Subject(wide.id, SUBJECT.name), held=7, maximum=8)
        )
        assert left == 1
    await other.thread.run(lambda: table.forget(NOON))
    assert await other.thread.run(lambda: list(LimitPlaces.objects.values_list("process_id", flat=True))) == [other.id]


async def test_bytes_of_both_processes_count(pair: tuple[Process, Process]) -> None:
    one, other = pair
    heavy = limit(max_bytes=1_000)
    for process, size in ((one, 600), (other, 300)):
        with process.allowance() as allowance:
            wanted = call(heavy, arguments=b"x" * size)
            await allowance.take(wanted)
            allowance.spend(wanted, _no_answer())
        await process.limits.beat()
    with one.allowance() as allowance:
        wanted = call(heavy, arguments=b"x" * 200)
        await allowance.take(wanted)
        allowance.spend(wanted, _no_answer())
    await one.limits.beat()
    for process in pair:
        await process.limits.beat()
    crowd = Crowd()
    await crowd.call(one, heavy)
    assert crowd.told == {"bytes": 1}


def create(kept: snapshot.RateLimit) -> None:
    with governed_change(by="person:noor@example.com"):
        RateLimit.objects.create(id=kept.id, name=kept.name, max_requests=kept.max_requests)


def windows() -> list[tuple[UUID, int]]:
    return list(LimitUse.objects.order_by("window").values_list("limit_id", "window"))


async def test_what_is_over_is_forgotten_and_nothing_else(pair: tuple[Process, Process]) -> None:
    """Also by a process that has not yet heard of any limit."""
    one, other = pair
    crowd, kept, gone = Crowd(), limit("kept", max_requests=5), limit("gone", max_requests=5)
    await one.thread.run(lambda: create(kept))
    for _ in range(6):
        await crowd.call(one, kept, gone)
        one.now += 60
    await other.thread.run(lambda: LimitTable(other.id).forget(one.now - 60))
    last = int(one.now // 60) - 1
    assert await one.thread.run(windows) == [(UUID(kept.id), last - number) for number in (2, 1, 0)]


def _no_answer() -> UpstreamFailure:
    return UpstreamFailure("reset", "reset", reached=True)
