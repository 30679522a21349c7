"""Around a connector kind: who gets the request, when it is repeated, when it is not even tried."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import (
    Discovery,
    Heard,
    Interest,
    Question,
    RawResult,
    Stands,
    UpstreamAuth,
    UpstreamFailure,
    UpstreamSpec,
    unheeded,
)
from connectors.breaker import FAILURES_TO_OPEN
from connectors.egress import NOT_SENT_IN_TIME, SEND_CLOCK
from connectors.fake import FakeConnector
from connectors.resilience import BUDGET, TRIES, Guarded

A, B = "http://a/mcp", "http://b/mcp"
ALONE = UpstreamSpec("c1", "helpdesk", "fake", (A,))
PAIR = replace(ALONE, urls=(A, B))
AUTH = UpstreamAuth()
WRITE = Question("tools/call", "echo", {"arguments": b"{}"})
READ = replace(WRITE, is_repeatable=True)
DOWN = UpstreamFailure("connect_failed", "down", reached=False)
RESET = UpstreamFailure("reset", "reset", reached=True)
SLOW = UpstreamFailure("timeout", "slow", reached=True)


class Replicas(FakeConnector):
    """Two addresses; `faults` says what each does, `asked` who got what."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: dict[str, UpstreamFailure | None] = {}
        self.checks: Counter[str] = Counter()
        self.asked: list[str] = []
        self.gate: asyncio.Event | None = None
        self.listening: list[str] = []

    async def request(self, spec: UpstreamSpec, *_: Any, **__: Any) -> RawResult:
        (url,) = spec.urls
        self.asked.append(url)
        if self.gate is not None:
            await self.gate.wait()
        self._fail(url)
        return RawResult({"from": url}, None, 1.0, 1)

    async def discover(self, spec: UpstreamSpec, auth: UpstreamAuth) -> Discovery:
        self.checks[spec.urls[0]] += 1
        self._fail(spec.urls[0])
        return await super().discover(spec, auth)

    async def listen(
        self, spec: UpstreamSpec, auth: UpstreamAuth, interest: Interest, heard: Heard, stands: Stands = unheeded
    ) -> None:
        self.listening.append(spec.urls[0])
        await asyncio.Event().wait()

    def _fail(self, url: str) -> None:
        if failure := self.faults.get(url):
            raise failure


class World:
    """A guarded connector whose clock stands still and whose pauses take no time."""

    def __init__(self) -> None:
        self.kind = Replicas()
        self.now = 1_000.0
        self.pauses: list[float] = []
        self.guarded = Guarded(self.kind, clock=lambda: self.now, chance=lambda: 0.5, pause=self._pause)

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def ask(self, spec: UpstreamSpec = ALONE, question: Question = WRITE) -> str:
        """Who answered, or the code of the failure."""
        try:
            result = await self.guarded.request(spec, AUTH, question)
        except UpstreamFailure as failure:
            return failure.code
        assert result.result is not None
        return str(result.result["from"])

    def status(self, url: str = A) -> str:
        (state,) = self.guarded.states()
        return next(replica.status for replica in state.replicas if replica.url == url)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_healthy_upstream_notices_nothing(world: World) -> None:
    assert await world.ask() == A
    assert (world.kind.asked, world.pauses) == ([A], [])


@pytest.mark.parametrize("failure", [RESET, SLOW], ids=lambda failure: failure.code)
async def test_what_may_have_arrived_is_never_sent_again(world: World, failure: UpstreamFailure) -> None:
    world.kind.faults = {A: failure}
    assert await world.ask(PAIR) == failure.code
    assert world.kind.asked == [A]


async def test_what_never_arrived_goes_to_the_other_replica(world: World) -> None:
    world.kind.faults = {A: DOWN}
    assert await world.ask(PAIR) == B
    assert (world.kind.asked, world.pauses) == ([A, B], [])


async def test_what_only_reads_goes_to_the_other_replica_even_if_it_arrived(world: World) -> None:
    world.kind.faults = {A: RESET}
    assert await world.ask(PAIR, READ) == B


async def test_a_lone_replica_is_tried_again_after_a_pause_that_grows(world: World) -> None:
    world.kind.faults = {A: DOWN}
    assert await world.ask() == "connect_failed"
    assert len(world.kind.asked) == TRIES
    assert world.pauses == sorted(set(world.pauses))
    assert len(world.pauses) == TRIES - 1


@given(
    first=st.sampled_from(["connect_failed", "timeout", "reset", "upstream_status", "bad_answer", "too_large"]),
    reached=st.booleans(),
    is_repeatable=st.booleans(),
    replicas=st.integers(1, 3),
)
def test_nothing_is_ever_done_twice(first: str, reached: bool, is_repeatable: bool, replicas: int) -> None:
    async def story() -> None:
        world = World()
        urls = tuple(f"http://{number}/" for number in range(replicas))
        world.kind.faults = dict.fromkeys(urls, UpstreamFailure(first, "broken", reached=reached))
        assert await world.ask(replace(ALONE, urls=urls), replace(WRITE, is_repeatable=is_repeatable)) == first
        assert len(world.kind.asked) <= TRIES
        assert len(world.kind.asked) == 1 or is_repeatable or not reached

    asyncio.run(story())


async def test_too_late_to_send_is_too_late_to_send_again(world: World) -> None:
    world.kind.faults = {A: DOWN}
    passed = time.clock_gettime_ns(SEND_CLOCK) - 1
    assert await world.ask(question=replace(READ, send_before_ns=passed)) == "connect_failed"
    assert len(world.kind.asked) == 1


async def test_a_retry_that_came_too_late_does_not_hide_what_may_have_arrived(world: World) -> None:
    """`not_sent_in_time` would be recorded as never sent, but the first try may have reached the upstream."""
    world.kind.faults = {A: RESET, B: UpstreamFailure(NOT_SENT_IN_TIME, "late", reached=False)}
    assert await world.ask(PAIR, READ) == "reset"


async def test_retries_have_a_budget(world: World) -> None:
    """Failures that do not open the breaker, one after the other: at most a tenth of the requests is repeated."""
    requests = 300
    for number in range(requests):
        world.kind.faults = {A: RESET} if number % 2 else {}
        await world.ask(question=READ)
        world.kind.faults = {}
        await world.ask(question=READ)
    assert len(world.kind.asked) <= 2 * requests * 1.1 + BUDGET + 1


async def break_down(world: World, spec: UpstreamSpec = ALONE) -> None:
    world.kind.faults = dict.fromkeys(spec.urls, RESET)
    for _ in range(FAILURES_TO_OPEN * len(spec.urls)):
        await world.ask(spec)


async def test_a_broken_upstream_gets_no_more_calls_until_it_passes_a_check(world: World) -> None:
    await break_down(world)
    asked = len(world.kind.asked)
    assert await world.ask() == "broken_off"
    assert (world.kind.checks[A], world.status()) == (1, "open")
    assert await world.ask() == "broken_off"
    assert world.kind.checks[A] == 1, "not yet due again"
    assert len(world.kind.asked) == asked
    world.kind.faults = {}
    world.now += 2
    assert await world.ask() == A
    assert (world.kind.checks[A], world.status()) == (2, "closed")


async def test_calls_that_fail_on_purpose_take_a_healthy_upstream_away_from_nobody(world: World) -> None:
    await break_down(world)
    world.kind.faults = {}
    assert world.status() == "open"
    assert await world.ask() == A


async def test_all_who_come_while_it_is_checked_share_the_check(world: World) -> None:
    await break_down(world)
    world.kind.faults = {}
    assert set(await asyncio.gather(*(world.ask() for _ in range(20)))) == {A}
    assert world.kind.checks[A] == 1


async def test_an_upstream_that_answers_badly_is_alive(world: World) -> None:
    for code in ("bad_answer", "too_large", "redirected", "upstream_auth"):
        world.kind.faults = {A: UpstreamFailure(code, "bad", reached=True)}
        for _ in range(FAILURES_TO_OPEN + 1):
            assert await world.ask() == code
    assert world.status() == "closed"


async def test_what_was_never_tried_says_nothing_of_the_upstream(world: World) -> None:
    late = UpstreamFailure(NOT_SENT_IN_TIME, "late", reached=False)
    for failure in (RESET, late) * FAILURES_TO_OPEN:
        world.kind.faults = {A: failure}
        await world.ask()
    assert world.status() == "open"


async def test_a_broken_replica_is_left_out_and_checked_beside_the_calls(world: World) -> None:
    world.kind.faults = {A: DOWN}
    for _ in range(FAILURES_TO_OPEN + 3):
        assert await world.ask(PAIR) == B
    assert world.kind.asked.count(A) == FAILURES_TO_OPEN
    world.kind.faults = {}
    world.now += 2
    for _ in range(4):
        await world.ask(PAIR)
        await asyncio.sleep(0)
    assert world.status(A) == "closed"
    assert await world.ask(PAIR) == A


async def test_a_burst_spreads_over_the_replicas(world: World) -> None:
    world.kind.gate = asyncio.Event()
    calls = [asyncio.create_task(world.ask(PAIR)) for _ in range(10)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    world.kind.gate.set()
    assert Counter(await asyncio.gather(*calls)) == {A: 5, B: 5}


async def test_a_cancelled_call_says_nothing_of_the_upstream_and_leaves_its_place(world: World) -> None:
    world.kind.gate = asyncio.Event()
    for _ in range(FAILURES_TO_OPEN + 1):
        call = asyncio.create_task(world.ask())
        await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    (state,) = world.guarded.states()
    assert (state.running, state.replicas[0].running, state.replicas[0].status) == (0, 0, "closed")


async def test_too_many_at_once_wait_and_more_are_turned_away(world: World) -> None:
    narrow = replace(ALONE, max_running=2, max_waiting=3)
    world.kind.gate = asyncio.Event()
    calls = [asyncio.create_task(world.ask(narrow)) for _ in range(8)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(world.kind.asked) == 2
    assert world.guarded.is_full(narrow)
    world.kind.gate.set()
    assert Counter(await asyncio.gather(*calls)) == {A: 5, "crowded": 3}


async def test_a_call_whose_turn_comes_too_late_is_not_sent(world: World) -> None:
    narrow = replace(ALONE, max_running=1)
    world.kind.gate = asyncio.Event()
    running = asyncio.create_task(world.ask(narrow))
    await asyncio.sleep(0)
    late = replace(WRITE, send_before_ns=time.clock_gettime_ns(SEND_CLOCK) + 1_000_000)
    assert await world.ask(narrow, late) == NOT_SENT_IN_TIME
    world.kind.gate.set()
    assert await running == A
    assert world.kind.asked == [A]


async def test_a_changed_connector_starts_anew_but_keeps_count_of_what_runs(world: World) -> None:
    world.kind.gate = asyncio.Event()
    running = asyncio.create_task(world.ask())
    await asyncio.sleep(0)
    changed = replace(ALONE, revision="2", max_running=1, max_waiting=0)
    assert await world.ask(changed) == "crowded"
    world.kind.gate.set()
    assert await running == A
    assert await world.ask(changed) == A


async def test_news_are_heard_at_a_replica_that_works(world: World) -> None:
    async def heard(method: str, params: dict[str, Any]) -> None:
        return

    listening = asyncio.create_task(world.guarded.listen(PAIR, AUTH, Interest(tools=True), heard))
    await until(lambda: world.kind.listening == [A])
    world.kind.faults = {A: DOWN}
    for _ in range(FAILURES_TO_OPEN):
        await world.ask(PAIR)
    await until(lambda: world.kind.listening == [A, B])
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening


async def test_a_local_program_has_no_replicas(world: World) -> None:
    guarded = Guarded(FakeConnector())
    local = replace(ALONE, urls=(), kind="stdio")
    assert (await guarded.request(local, AUTH, WRITE)).result is not None
    (state,) = guarded.states()
    assert state.replicas == ()
    await guarded.forget(["c1"])
    assert guarded.states() == ()
    await guarded.close()


async def test_the_check_of_an_upstream_that_was_forgotten_ends(world: World) -> None:
    await break_down(world)
    stuck = asyncio.Event()

    async def never(spec: UpstreamSpec, auth: UpstreamAuth) -> Discovery:
        await stuck.wait()
        raise AssertionError

    world.kind.discover = never  # type: ignore[method-assign]
    waiting = asyncio.create_task(world.ask())
    await until(lambda: world.status() == "checking")
    await world.guarded.close()
    assert await waiting == "broken_off"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  (other tasks of this loop make it true)
            await asyncio.sleep(0)
