"""Rate limits in memory: several processes over one table never let more pass than the limit says."""

import asyncio
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import RawResult
from gateway import refusals
from gateway.call import Call
from gateway.commit.entry import EvidenceUnavailable
from gateway.limits import Allowance, Limits
from gateway.refusals import Refusal
from tests import factories as make
from tests.fakes import MemoryTable, at_once
from tests.gateway.limit_world import call, limit

NOON = 1_767_268_800.0


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


def process(table: MemoryTable | None = None, clock: Clock | None = None) -> Limits:
    return Limits(table or MemoryTable(), at_once, clock=clock or Clock())


async def passes(limits: Limits, wanted: Call) -> str:
    """`yes`, or what the refusal says is used up. The call is over at once."""
    try:
        with Allowance(limits, lambda _: False) as allowance:
            await allowance.take(wanted)
    except Refusal as refusal:
        return str(refusal.facts["used_up"])
    return "yes"


async def count(limits: Limits, wanted: Call, times: int) -> Counter[str]:
    return Counter([await passes(limits, wanted) for _ in range(times)])


async def test_so_many_requests_pass_in_a_window_and_again_in_the_next() -> None:
    clock, wanted = Clock(), call(limit(max_requests=10))
    limits = process(clock=clock)
    for _ in range(3):
        assert await count(limits, wanted, 25) == {"yes": 10, "requests": 15}
        clock.now += 60


async def test_the_refusal_says_until_when() -> None:
    clock = Clock()
    limits, wanted = process(clock=clock), call(limit("few", max_requests=1))
    await passes(limits, wanted)
    clock.now += 47.5
    with pytest.raises(Refusal) as refused:
        await Allowance(limits, lambda _: False).take(wanted)
    assert refused.value.reason is refusals.RATE_LIMITED
    assert (refused.value.facts["retry_after"], refused.value.facts["limit"]) == (13, "few")


@pytest.mark.parametrize(("per", "expected"), [("agent", 4), ("team", 4), ("tool", 4), ("everybody", 2)], ids=str)
async def test_each_agent_team_and_tool_has_its_own_count(per: str, expected: int) -> None:
    limits, one = process(), limit(max_requests=2, per=per)
    ana = make.agent("ana-bot", owner=make.person("ana@example.com", teams=("support",)))
    bob = make.agent("bob-bot", owner=make.person("bob@example.com", teams=("sales",)))
    calls = [call(one, agent=ana, tool=make.tool("a")), call(one, agent=bob, tool=make.tool("b"))]
    found = Counter([await passes(limits, wanted) for wanted in calls * 4])
    assert found["yes"] == expected


async def test_a_team_counts_for_the_teams_above_it() -> None:
    limits, one = process(), limit(max_requests=3, per="team")
    east = make.agent("east-bot", owner=make.person("e@example.com", teams=("all", "east")))
    west = make.agent("west-bot", owner=make.person("w@example.com", teams=("all", "west")))
    assert await count(limits, call(one, agent=east), 2) == {"yes": 2}
    assert await count(limits, call(one, agent=west), 2) == {"yes": 1, "requests": 1}


async def test_all_resources_of_a_system_count_as_one_tool() -> None:
    limits, one, desk = process(), limit(max_requests=2, per="tool"), make.connector()
    snapshot = make.snapshot()
    found = [snapshot.target(desk, "resource", f"file:///{number}") for number in range(4)]
    assert [await passes(limits, call(one, tool=each)) for each in found] == ["yes", "yes", "requests", "requests"]


async def test_a_limit_is_about_the_tools_that_its_globs_match() -> None:
    limits, one = process(), limit(max_requests=1, tools=("ticket_*",))
    assert await count(limits, call(one, tool=make.tool("kb_search")), 5) == {"yes": 5}
    assert (await count(limits, call(one, tool=make.tool("ticket_get")), 5))["yes"] == 1


async def test_what_one_limit_refuses_costs_the_others_nothing() -> None:
    wide, narrow = limit("wide", max_requests=10), limit("narrow", max_requests=2, tools=("ticket_*",))
    limits = process()
    assert await count(limits, call(wide, narrow, tool=make.tool("ticket_get")), 20) == {"yes": 2, "requests": 18}
    assert await count(limits, call(wide, narrow, tool=make.tool("kb_search")), 20) == {"yes": 8, "requests": 12}


async def test_a_request_that_is_decided_again_counts_once() -> None:
    limits, wanted = process(), call(limit(max_requests=3, max_running=1))
    with Allowance(limits, lambda _: False) as allowance:
        for _ in range(10):
            await allowance.take(wanted)
    assert await count(limits, wanted, 5) == {"yes": 2, "requests": 3}


async def test_bytes_count_when_the_call_is_over() -> None:
    limits, wanted = process(), call(limit(max_bytes=1000), arguments=b"x" * 100)
    for _ in range(2):
        with Allowance(limits, lambda _: False) as allowance:
            await allowance.take(wanted)
            allowance.spend(wanted, RawResult({}, None, 1.0, 400))
    assert await passes(limits, wanted) == "bytes"


async def test_an_upstream_without_room_is_refused_before_anything_is_taken() -> None:
    limits, wanted = process(), call(limit(max_requests=1))
    with pytest.raises(Refusal) as refused:
        await Allowance(limits, lambda _: True).take(wanted)
    assert refused.value.reason is refusals.CROWDED
    assert await passes(limits, wanted) == "yes"


async def test_calls_at_once_are_bounded_and_a_place_is_free_again() -> None:
    limits, wanted = process(), call(limit(max_running=3))
    with ExitStack() as running:
        for _ in range(3):
            await running.enter_context(Allowance(limits, lambda _: False)).take(wanted)
        waiting = asyncio.create_task(passes(limits, wanted))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting == "yes"


async def test_who_waits_too_long_for_a_place_is_refused() -> None:
    clock = Clock()
    limits, wanted = process(clock=clock), call(limit(max_running=1))
    with Allowance(limits, lambda _: False) as allowance:
        await allowance.take(wanted)
        waiting = asyncio.create_task(passes(limits, wanted))
        await asyncio.sleep(0)
        clock.now += 2
        assert await waiting == "calls at once"
    assert await passes(limits, wanted) == "yes"


async def test_without_the_database_the_call_is_refused_like_without_evidence() -> None:
    async def away(work: object, /) -> object:
        raise EvidenceUnavailable("away")

    for each in (limit(max_requests=1), limit(max_bytes=1), limit(max_running=1)):
        limits = Limits(MemoryTable(), away, clock=Clock())  # type: ignore[arg-type]
        with pytest.raises(EvidenceUnavailable):
            await passes(limits, call(each))


async def test_a_raised_limit_counts_within_a_second() -> None:
    clock, low = Clock(), limit(max_requests=2)
    limits = process(clock=clock)
    assert (await count(limits, call(low), 5))["yes"] == 2
    clock.now += 1.5
    assert (await count(limits, call(replace(low, max_requests=5)), 5))["yes"] == 3


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["call", "call", "call", "burst", "beat", "time"])), max_size=80
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, maximum=st.integers(1, 200), window_seconds=st.sampled_from([1, 7, 60]))
def test_three_processes_never_let_more_pass_than_the_limit(
    steps: list[tuple[int, str]], maximum: int, window_seconds: int
) -> None:
    """Whatever the order of calls, bursts, beats (which give idle shares back) and windows that end."""
    table, clock = MemoryTable(), Clock()
    wanted = call(limit(max_requests=maximum, window_seconds=window_seconds))
    passed: Counter[int] = Counter()

    async def story() -> None:
        processes = [process(table, clock) for _ in range(3)]
        for number, step in steps:
            if step == "beat":
                await processes[number].beat()
            elif step == "time":
                clock.now += window_seconds / 3
            else:
                burst = [passes(processes[number], wanted) for _ in range(1 if step == "call" else 40)]
                told = Counter(await asyncio.gather(*burst))
                passed[int(clock.now // window_seconds)] += told["yes"]
        await asyncio.sleep(0)

    asyncio.run(story())
    assert all(count <= maximum for count in passed.values())


@given(maximum=st.integers(1, 500), shares=st.lists(st.integers(0, 2), min_size=3, max_size=3))
def test_what_lies_idle_is_given_back(maximum: int, shares: list[int]) -> None:
    """A process that called a little and stopped does not keep the rest from the others."""

    async def story() -> None:
        table, clock = MemoryTable(), Clock()
        processes = [process(table, clock) for _ in range(3)]
        wanted = call(limit(max_requests=maximum, window_seconds=3600))
        passed = 0
        for limits, times in zip(processes, shares, strict=True):
            passed += (await count(limits, wanted, times))["yes"]
        for _ in range(2):
            for limits in processes:
                await limits.beat()
        clock.now += 2
        assert passed + (await count(processes[0], wanted, maximum + 5))["yes"] == maximum

    asyncio.run(story())
