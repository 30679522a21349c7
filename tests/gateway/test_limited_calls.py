"""Limits in the pipeline: before the intent, once a call, and as evidence that no flood can amplify."""

from dataclasses import replace
from datetime import timedelta

from connectors.base import RawResult, UpstreamFailure
from gateway.call import Frame, Intent
from gateway.commit.entry import Verdict
from gateway.pipeline import run
from governance.snapshot import RateLimit, Snapshot
from tests import factories as make
from tests.fakes import OK, FakePorts, answer
from tests.gateway.limit_world import limit


def world(*limits: RateLimit) -> Snapshot:
    agent = make.agent(roles=(make.role("bundle-support"),))
    snapshot = make.snapshot(agents=(agent,), bundles=(make.bundle(),), credentials=(make.credential(agent),))
    return replace(snapshot, limits=limits)


def frame() -> Frame:
    return Frame(token=make.KEY, bundle="support", name="ticket_get", arguments={"id": 7}, revision="2025-11-25")


async def test_a_call_over_the_limit_is_answered_429_and_never_sent() -> None:
    ports = FakePorts(world(limit("few", max_requests=1)))
    assert (await run(frame(), ports)).status == 200
    told = await run(frame(), ports)
    assert (told.status, told.retry_after_seconds) == (429, 60)
    assert told.error is not None
    assert told.error["data"]["com.gatehouse/decision"] == {"code": "rate_limited", "retry_after": 60}
    assert "few" in told.error["message"]
    assert ports.log == ["call.intent", "sent", "call.outcome", "call.refused"]
    details = ports.entries[-1].event.details
    assert (details["reason"], details["limit"], details["used_up"]) == ("rate_limited", "few", "requests")


async def test_a_flood_over_the_limit_is_two_records() -> None:
    ports = FakePorts(world(limit("few", max_requests=1)))
    for _ in range(500):
        await run(frame(), ports)
    assert ports.log == ["call.intent", "sent", "call.outcome", "call.refused"]
    entry = ports.refused.take(now=ports.now(), process_id=ports.process_id)
    assert entry is not None
    assert entry.event.details["total"] == 498
    (row,) = entry.event.details["refusals"]
    assert (row["agent"], row["tool"], row["limit"], row["count"]) == ("triage-bot", "ticket_get", "few", 498)
    assert ports.refused.take(now=ports.now(), process_id=ports.process_id) is None


async def test_after_the_window_calls_pass_again() -> None:
    ports = FakePorts(world(limit(max_requests=1)))
    assert [(await run(frame(), ports)).status for _ in range(2)] == [200, 429]
    ports.at += timedelta(seconds=60)
    assert (await run(frame(), ports)).status == 200


async def test_a_call_that_is_decided_again_or_sent_again_counts_once() -> None:
    ports = FakePorts(world(limit(max_requests=2, max_running=1)))
    ports.verdicts = [Verdict.STALE, Verdict.STALE]
    assert (await run(frame(), ports)).status == 200
    ports.held_up_ns = 2_000_000_000
    assert (await run(frame(), ports)).status == 200
    assert ports.log.count("sent") == 2
    assert (await run(frame(), ports)).status == 429


async def test_a_place_is_free_again_however_the_call_ends() -> None:
    ports = FakePorts(world(limit(max_running=1)))

    def fails(_: Intent) -> RawResult:
        raise UpstreamFailure("reset", "It broke off.", reached=True)

    def breaks(_: Intent) -> RawResult:
        raise RuntimeError

    for upstream in (fails, breaks, lambda _: answer(OK)):
        ports.upstream = upstream
        assert (await run(frame(), ports)).status == 200
    ports.broken_commits = {"call.intent"}
    assert (await run(frame(), ports)).status == 503
    ports.broken_commits = set()
    assert (await run(frame(), ports)).status == 200


async def test_an_upstream_without_room_is_answered_503_without_an_intent() -> None:
    ports = FakePorts(world())
    ports.full = {"helpdesk"}
    told = await run(frame(), ports)
    assert (told.status, told.retry_after_seconds, ports.log) == (503, 1, ["call.refused"])


async def test_an_upstream_that_became_full_meanwhile_is_answered_503_too() -> None:
    ports = FakePorts(world())

    def crowded(_: Intent) -> RawResult:
        raise UpstreamFailure("crowded", "Too many wait.", reached=False)

    ports.upstream = crowded
    told = await run(frame(), ports)
    assert (told.status, told.retry_after_seconds) == (503, 1)
    details = ports.entries[-1].event.details
    assert (details["code"], details["reached"]) == ("crowded", False)


async def test_results_count_as_bytes() -> None:
    ports = FakePorts(world(limit(max_bytes=150)))
    assert [(await run(frame(), ports)).status for _ in range(3)] == [200, 200, 429]
