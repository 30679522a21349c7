"""Bursts of HTTP requests wait their turn, no agent has all places, what is beyond is sent away with Retry-After."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import Relay
from gateway.draining import DRAIN_SECONDS, Drain
from gateway.http_gate import Gate, Shares
from governance.snapshot import Snapshot
from tests import factories as make
from tests.gateway.mcp_surface import McpPorts, Reply, Surface

OTHER_KEY = "gate_ak_" + "1" * 49


class Door:
    """An application that answers when it is opened."""

    def __init__(self, kind: bytes = b"application/json") -> None:
        self.open = asyncio.Event()
        self.kind = kind
        self.most = self.running = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.kind == b"text/event-stream":
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", self.kind)]})
            await self.open.wait()
            if self.kind != b"text/event-stream":
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", self.kind)]})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self.running -= 1


async def visit(gate: Gate) -> tuple[int, bytes | None]:
    """Status and Retry-After."""
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    await gate({"type": "http"}, None, send)  # type: ignore[arg-type]  # nobody reads the body
    headers = dict(said[0]["headers"])
    return said[0]["status"], headers.get(b"retry-after")


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_bursts_queue_up_to_a_bound() -> None:
    door = Door()
    gate = Gate(door, max_running=3, max_waiting=4)
    visits = [asyncio.create_task(visit(gate)) for _ in range(20)]
    await settle()
    door.open.set()
    assert Counter(await asyncio.gather(*visits)) == {(200, None): 7, (503, b"1"): 13}
    assert (door.most, gate.bulkhead.running, gate.bulkhead.waiting) == (3, 0, 0)


async def test_nobody_waits_for_ever() -> None:
    door = Door()
    gate = Gate(door, max_running=1, max_waiting=4, wait_seconds=0.01)
    first = asyncio.create_task(visit(gate))
    await settle()
    assert await visit(gate) == (503, b"1")
    door.open.set()
    assert await first == (200, None)


async def test_streams_take_no_room_of_others() -> None:
    door = Door(b"text/event-stream")
    gate = Gate(door, max_running=2, max_waiting=0)
    visits = []
    for _ in range(10):
        visits.append(asyncio.create_task(visit(gate)))
        await settle()
    assert (door.running, gate.bulkhead.running) == (10, 0)
    door.open.set()
    assert {status for status, _ in await asyncio.gather(*visits)} == {200}


async def test_what_goes_on_after_its_answer_takes_no_room_of_others() -> None:
    going_on = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
        assert gate.bulkhead.running == 1
        await send({"type": "http.response.body", "body": b"}"})
        await going_on.wait()

    gate = Gate(app, max_running=1, max_waiting=0)
    first = asyncio.create_task(visit(gate))
    await settle()
    second = asyncio.create_task(visit(gate))
    await settle()
    going_on.set()
    assert {await first, await second} == {(200, None)}
    assert gate.bulkhead.running == 0


async def test_a_request_that_is_cut_off_leaves_its_place() -> None:
    door = Door()
    gate = Gate(door, max_running=1, max_waiting=1)
    for _ in range(5):
        cut = asyncio.create_task(visit(gate))
        await settle()
        cut.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cut
    assert gate.bulkhead.running == 0


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), max_size=200), st.integers(1, 12))
def test_who_has_nothing_gets_in_while_anything_is_free(steps: list[tuple[str, bool]], total: int) -> None:
    shares, has = Shares(total), Counter[str]()
    for agent, wants in steps:
        if wants:
            free = total - has.total()
            assert shares.take(agent) == (has[agent] < free)
            has[agent] += has[agent] < free
        elif has[agent]:
            shares.give_back(agent)
            has[agent] -= 1
        assert shares.free == total - has.total() >= 0


def two_agents() -> Snapshot:
    agents = [make.agent(name, roles=(make.role("bundle-support"),)) for name in ("triage-bot", "night-bot")]
    keys = make.credential(agents[0]), make.credential(agents[1], OTHER_KEY)
    return make.snapshot(agents=tuple(agents), bundles=(make.bundle(),), credentials=keys)


class SlowUpstream:
    """Answers when it is let go, and tells how many calls it holds."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.calls = 0

    async def __call__(self, relay: Relay) -> None:
        self.calls += 1
        await self.go_on.wait()


async def call(surface: Surface) -> Reply:
    return await surface.ask("tools/call", {"name": "ticket_get", "arguments": {"id": 7}})


async def test_one_agents_slow_calls_leave_room_for_others() -> None:
    ports, upstream = McpPorts(two_agents()), SlowUpstream()
    ports.conversation = upstream
    surface = Surface(ports)
    surface.app = gate = Gate(surface.app, max_running=8, max_waiting=100)  # type: ignore[assignment]  # around it
    other = surface.other(key=OTHER_KEY)
    slow = [asyncio.create_task(call(surface)) for _ in range(20)]
    refused = [(await each).status for each in slow[4:]]
    assert (refused, upstream.calls) == ([429] * 16, 4)
    also_slow = [asyncio.create_task(call(other)) for _ in range(3)]
    assert (await also_slow[2]).status == 429
    upstream.go_on.set()
    answers = await asyncio.gather(*slow[:4], *also_slow[:2])
    assert [reply.status for reply in answers] == [200] * 6
    assert (await call(surface)).status == 200
    assert (gate.bulkhead.running, gate.shares.free) == (0, 8)


async def test_a_share_that_is_used_up_is_told_and_recorded_once() -> None:
    ports, upstream = McpPorts(two_agents()), SlowUpstream()
    ports.conversation = upstream
    surface = Surface(ports)
    surface.app = Gate(surface.app, max_running=2, max_waiting=100)  # type: ignore[assignment]  # around it
    slow = asyncio.create_task(call(surface))
    await settle()
    replies = [await call(surface) for _ in range(50)]
    upstream.go_on.set()
    assert (await slow).status == 200
    assert {(reply.status, reply.headers["retry-after"]) for reply in replies} == {(429, "1")}
    assert replies[0].error["data"]["com.gatehouse/decision"] == {"code": "over_share", "retry_after": 1}
    assert Counter(ports.log)["call.refused"] == 1
    (event,) = (entry.event for entry in ports.entries if entry.event.kind == "call.refused")
    assert (event.details["reason"], event.actor) == ("over_share", "agent:triage-bot")
    again = ports.refused.take(now=ports.now(), process_id=ports.process_id)
    assert again is not None
    assert again.event.details["total"] == 49


def test_draining_begins_once_and_has_an_end() -> None:
    now, acts = [100.0], []
    drain = Drain(clock=lambda: now[0])
    drain.on_begin(lambda: acts.append("streams"))
    now[0] += 1000
    assert drain.seconds_left == DRAIN_SECONDS
    drain.begin()
    now[0] += DRAIN_SECONDS - 5
    drain.begin()
    assert (acts, drain.seconds_left) == (["streams"], 5)
    now[0] += 10
    assert drain.seconds_left == 0
