"""Streams of a session that are lost and asked for again: at any process, from any event, by nobody else."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from connectors.base import Relay
from gateway.mcp import attendance, calls, exchange, streams
from gateway.mcp.exchange import replay
from gateway.mcp.streams import KEPT_FOR, place_of
from gateway.mcp.waiting import ANSWERS_OF_ONE, Crowded
from gateway.models import StreamEvent
from gateway.store import forget_what_is_over
from tests import factories as make
from tests.gateway.storing import (
    AGENT,
    Client,
    StoredPorts,
    a_session,
    context,
    empty_store,
    end_as_its_person,
    frame,
    module_database,
    run_twice,
    with_database,
    world,
)

__all__ = ("empty_store", "module_database")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attendance, "WATCH_AFTER_SECONDS", 0.0)


async def three_steps(relay: Relay) -> None:
    for step in (1, 2, 3):
        await relay.notify("notifications/progress", {"progress": step})


def events_kept() -> list[tuple[int, bytes]]:
    try:
        return [(row.number, bytes(row.body)) for row in StreamEvent.objects.order_by("number")]
    finally:
        connection.close()


def again(ports: StoredPorts, session: Any, last_event_id: str) -> tuple[Client, asyncio.Task[None]]:
    client = Client()
    place = place_of(session.id, last_event_id)
    assert place is not None
    return client, asyncio.create_task(replay(context(client, session=session), place, ports))


async def a_call(ports: StoredPorts, session: Any) -> Client:
    client = Client()
    of = context(client, session=session, progress_token="p")
    await calls.serve(of, frame(of), ports)
    return client


@with_database
def test_each_event_is_kept_sealed_before_it_is_sent() -> None:
    kept: list[list[tuple[int, bytes]]] = []

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = three_steps
        session = await a_session(here)
        client = Client()

        async def send(message: Any) -> None:
            kept.append(await asyncio.to_thread(events_kept))
            await client.send(message)

        of = replace(context(client, session=session, progress_token="p"), send=send)
        await calls.serve(of, frame(of), here)
        return client

    client = run_twice(use)
    assert [len(rows) for rows in kept] == [0, 0, 1, 2, 3, 4, 4]
    assert not any(b"progress" in body for _, body in kept[-1])
    assert len(client.event_ids) == 5, "the first stands for the beginning"


@with_database
def test_what_was_missed_comes_again_at_any_process_from_any_event() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = three_steps
        session = await a_session(here)
        client = await a_call(here, session)
        repeated = []
        for event_id in client.event_ids:
            other, replaying = again(there, session, event_id)
            await replaying
            repeated.append(other)
        return client, repeated

    client, repeated = run_twice(use)
    for missed, other in enumerate(repeated):
        assert other.messages == client.messages[missed:]
        assert other.event_ids == client.event_ids[missed + 1 :]
        assert other.is_complete.is_set()
        assert other.is_stream


@with_database
@pytest.mark.parametrize("revision", ["2025-03-26", "2025-06-18"])
def test_only_the_newest_of_them_begins_with_an_empty_event(revision: str) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = three_steps
        return await a_call(here, await a_session(here, revision))

    client = run_twice(use)
    assert len(client.event_ids) == len(client.messages) == 4
    assert b"data: \n" not in client.body


@with_database
def test_an_upstream_that_talks_without_end_fills_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "JOURNAL_LIMIT", 200)

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = three_steps
        session = await a_session(here)
        client = await a_call(here, session)
        other, replaying = again(there, session, client.event_ids[0])
        await replaying
        return client, other

    client, other = run_twice(use)
    assert len(client.messages) == 4
    assert other.messages == [*client.messages[:2], client.messages[3]], "the answer is always kept"


@with_database
def test_who_leaves_a_stream_that_is_read_again_takes_no_place_any_more() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        session = await a_session(here)
        nothing = here.sessions.streams.journal(session.id).event_id
        other, replaying = again(there, session, nothing)
        await other.until(lambda client: client.is_stream)
        assert there.waiting.answers.count == 1
        other.left.set()
        await asyncio.wait_for(replaying, 20)
        return there.waiting.answers.count

    assert run_twice(use) == 0


@with_database
def test_a_call_goes_on_without_its_client_who_follows_it_elsewhere() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        go_on = asyncio.Event()

        async def talk(relay: Relay) -> None:
            await relay.notify("notifications/progress", {"progress": 1})
            await go_on.wait()
            await relay.notify("notifications/progress", {"progress": 2})

        here.conversation = talk
        session = await a_session(here)
        client = Client()
        of = context(client, session=session, progress_token="p")
        serving = asyncio.create_task(calls.serve(of, frame(of), here))
        await client.until(lambda client: len(client.messages) == 1)
        client.left.set()
        other, replaying = again(there, session, client.event_ids[0])
        await other.until(lambda client: len(client.messages) == 1)
        go_on.set()
        await asyncio.gather(serving, replaying)
        return other

    other = run_twice(use)
    assert [message.get("params", {}).get("progress") for message in other.messages] == [1, 2, None]
    assert other.result["content"] == [{"type": "text", "text": "done"}]


@with_database
def test_another_session_cannot_have_it_and_hears_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "KEEP_ALIVE_SECONDS", 0.01)

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = three_steps
        session, other = await a_session(here), await a_session(here)
        client = await a_call(here, session)
        thief, stealing = again(there, other, client.event_ids[0])
        await thief.until(lambda client: b"ping" in client.body)
        stealing.cancel()
        await asyncio.gather(stealing, return_exceptions=True)
        return thief

    assert run_twice(use).messages == []


@with_database
def test_the_newest_of_them_says_when_to_come_again() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = three_steps
        return await a_call(here, await a_session(here))

    assert run_twice(use).body.startswith(b"retry: 1000\nid: ")


@with_database
def test_a_stream_that_is_read_again_ends_with_its_process() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        client, replaying = again(there, await a_session(here), f"{'x' * 22}.0")
        await client.until(lambda client: client.is_stream)
        there.waiting.end()
        await replaying
        return client

    assert run_twice(use).is_complete.is_set()


@with_database
def test_an_agent_reads_only_so_many_streams_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        session = await a_session(here)
        with ExitStack() as held:
            for _ in range(ANSWERS_OF_ONE):
                held.enter_context(there.waiting.answers.taken(AGENT))
            _, refused = again(there, session, f"{'x' * 22}.0")
            with pytest.raises(Crowded) as refusal:
                await refused
        return refusal.value.status

    assert run_twice(use) == 429


@with_database
def test_a_stream_ends_when_its_callers_key_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "KEEP_ALIVE_SECONDS", 0.01)

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        session = await a_session(here)
        client, replaying = again(there, session, f"{'x' * 22}.0")
        await client.until(lambda client: b"ping" in client.body)
        there.views = [make.snapshot(agents=tuple(world().agents.values()), epoch=2)]
        await replaying
        return client

    assert run_twice(use).is_complete.is_set()


@with_database
def test_a_stream_ends_when_its_session_is_ended_at_another_process() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        session, other = await a_session(here), await a_session(here)
        streams = [again(there, each, f"{'x' * 22}.0") for each in (session, other)]
        for client, _ in streams:
            await client.until(lambda client: client.is_stream)
        await asyncio.to_thread(end_as_its_person, session.digest)
        await streams[0][1]
        is_other_over = streams[1][1].done()
        streams[1][0].left.set()
        await streams[1][1]
        return is_other_over, await there.sessions.find(session.id, AGENT, "support")

    assert run_twice(use) == (False, None)


@pytest.mark.parametrize("event_id", ["", "x", "x.1", f"{'x' * 22}.", f"{'x' * 22}.-1", f"{'x' * 22}.1234567890", "\0"])
def test_what_is_no_event_of_ours_is_told_apart_at_once(event_id: str) -> None:
    assert place_of("session", event_id) is None


@with_database
def test_events_are_forgotten_in_time() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        here.conversation = three_steps
        await a_call(here, await a_session(here))

    run_twice(use)
    StreamEvent.objects.filter(number__lt=3).update(written_at=datetime.now(UTC) - KEPT_FOR - timedelta(seconds=1))
    forget_what_is_over()
    assert sorted(row.number for row in StreamEvent.objects.all()) == [3, 4]
