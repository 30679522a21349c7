"""Sessions of earlier revisions: found at every process, by nobody but their own agent at their own endpoint."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from django.db import connection

from gateway.commit.entry import EvidenceUnavailable
from gateway.mcp import sessions as sessions_module
from gateway.mcp.errors import ProtocolError
from gateway.mcp.sessions import CAPABILITIES_LIMIT, IDLE_FOR, KEPT_AFTER_END, NOTE_EVERY
from gateway.models import McpSession
from gateway.store import forget_what_is_over
from tests.gateway.storing import (
    AGENT,
    ELICITATION,
    OTHER_AGENT,
    StoredPorts,
    a_session,
    empty_store,
    module_database,
    run_twice,
    with_database,
)

__all__ = ("empty_store", "module_database")


def update(**values: Any) -> None:
    McpSession.objects.update(**values)
    connection.close()


def row() -> McpSession:
    found = McpSession.objects.get()
    connection.close()
    return found


@with_database
def test_a_session_is_known_at_every_process_with_all_that_belongs_to_it() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        made = await here.sessions.create(
            AGENT, "support", revision="2025-06-18", capabilities=ELICITATION, client="probe 1.0"
        )
        await here.sessions.set_log_level(made, "warning")
        await here.sessions.set_subscriptions(made, ("file:///a", "file:///b"))
        return made, await there.sessions.find(made.id, AGENT, "support")

    made, found = run_twice(use)
    assert (found.id, found.agent_id, found.bundle) == (made.id, AGENT, "support")
    assert (found.revision, found.capabilities, found.client) == ("2025-06-18", ELICITATION, "probe 1.0")
    assert (found.log_level, found.subscriptions) == ("warning", ("file:///a", "file:///b"))


@with_database
def test_an_id_is_unguessable_visible_and_not_stored() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        return [(await a_session(here)).id for _ in range(3)]

    ids = run_twice(use)
    assert len(set(ids)) == 3
    assert all(len(each) >= 43 and each.isascii() and each.isprintable() and " " not in each for each in ids)
    assert {bytes(each.digest) for each in McpSession.objects.all()} == {sha256(each.encode()).digest() for each in ids}


@with_database
@pytest.mark.parametrize(
    ("agent", "bundle"), [(OTHER_AGENT, "support"), (AGENT, "sales"), (AGENT, None)], ids=["agent", "bundle", "union"]
)
def test_somebody_elses_session_is_unknown(agent: str, bundle: str | None) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        made = await a_session(here)
        return await there.sessions.find(made.id, agent, bundle), await there.sessions.find(made.id, AGENT, "support")

    foreign, own = run_twice(use)
    assert foreign is None
    assert own is not None


@with_database
@pytest.mark.parametrize("session_id", ["", "unknown", "x" * 129, "\u00e9"])
def test_what_is_no_session_is_unknown(session_id: str) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        return await here.sessions.find(session_id, AGENT, "support")

    assert run_twice(use) is None


@with_database
def test_an_ended_session_is_unknown_everywhere_at_once() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        made = await a_session(here)
        await there.sessions.find(made.id, AGENT, "support")
        await here.sessions.end(made)
        return await there.sessions.find(made.id, AGENT, "support")

    assert run_twice(use) is None


@with_database
def test_an_idle_session_is_unknown() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        made = await a_session(here)
        await asyncio.to_thread(update, seen_at=datetime.now(UTC) - IDLE_FOR - timedelta(seconds=1))
        return await there.sessions.find(made.id, AGENT, "support")

    assert run_twice(use) is None


@with_database
def test_all_who_ask_at_once_share_one_query(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    select = sessions_module._select

    def counted(session_ids: list[str]) -> Any:
        asked.append(len(session_ids))
        return select(session_ids)

    monkeypatch.setattr(sessions_module, "_select", counted)

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        made = [await a_session(here) for _ in range(20)]
        ids = [each.id for each in made for _ in range(5)]
        found = await asyncio.gather(*(here.sessions.find(each, AGENT, "support") for each in ids))
        return Counter(each.id for each in found if each is not None) == Counter(ids)

    assert run_twice(use)
    assert asked == [20]


@with_database
def test_who_asks_during_a_query_gets_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up that began before a session was made could not know it."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        run = here.sessions._thread.run

        async def slow(work: Any) -> Any:
            found = await run(work)
            begun.set()
            await go_on.wait()
            return found

        monkeypatch.setattr(here.sessions._thread, "run", slow)
        early = asyncio.create_task(here.sessions.find("not yet", AGENT, "support"))
        await begun.wait()
        made = await a_session(there)
        late = asyncio.create_task(here.sessions.find(made.id, AGENT, "support"))
        await asyncio.sleep(0)
        go_on.set()
        return await early, await late

    early, late = run_twice(use)
    assert early is None
    assert late is not None


@with_database
def test_a_database_that_is_away_is_told_to_all_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        made = await a_session(here)
        run = here.sessions._thread.run

        async def away(work: Any) -> Any:
            raise EvidenceUnavailable("away")

        monkeypatch.setattr(here.sessions._thread, "run", away)
        asking = (here.sessions.find(made.id, AGENT, "support") for _ in range(3))
        refused = await asyncio.gather(*asking, return_exceptions=True)
        monkeypatch.setattr(here.sessions._thread, "run", run)
        return refused, await here.sessions.find(made.id, AGENT, "support")

    refused, found = run_twice(use)
    assert [type(each) for each in refused] == [EvidenceUnavailable] * 3
    assert found is not None


@with_database
def test_being_seen_is_noted_but_not_for_each_request() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        made = await a_session(here)
        fresh = (await asyncio.to_thread(row)).seen_at
        await here.sessions.find(made.id, AGENT, "support")
        noted = list(here.sessions._noting)
        await asyncio.to_thread(update, seen_at=fresh - 2 * NOTE_EVERY)
        await here.sessions.find(made.id, AGENT, "support")
        await asyncio.gather(*here.sessions._noting)
        return noted, fresh, (await asyncio.to_thread(row)).seen_at

    noted, fresh, seen = run_twice(use)
    assert noted == []
    assert seen >= fresh


@with_database
@pytest.mark.parametrize("capabilities", [{"x": "y" * CAPABILITIES_LIMIT}, {"x": "\0"}], ids=["large", "NUL"])
def test_capabilities_that_cannot_be_stored_are_refused(capabilities: dict[str, Any]) -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        with pytest.raises(ProtocolError) as refused:
            await a_session(here, **capabilities)
        return refused.value.code

    assert run_twice(use) == -32602


@with_database
def test_a_clients_name_with_a_nul_is_stored_without() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        return await here.sessions.create(AGENT, None, revision="2025-11-25", capabilities={}, client="a\0b" * 100)

    made = run_twice(use)
    assert made.client.startswith("abab")
    assert len(made.client) <= 130


@with_database
def test_sessions_are_forgotten_in_time() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        return [await a_session(here) for _ in range(3)]

    idle, ended, live = run_twice(use)
    now = datetime.now(UTC)
    McpSession.objects.filter(digest=idle.digest).update(seen_at=now - IDLE_FOR - timedelta(seconds=1))
    McpSession.objects.filter(digest=ended.digest).update(ended_at=now - KEPT_AFTER_END - timedelta(seconds=1))
    forget_what_is_over()
    assert [bytes(each.digest) for each in McpSession.objects.all()] == [live.digest]


@with_database
def test_an_agent_with_too_many_sessions_loses_those_it_used_least_lately(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "OF_ONE_AGENT", 3)

    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        other = await here.sessions.create(OTHER_AGENT, "support", revision="2025-11-25", capabilities={})
        made = [await a_session(here) for _ in range(5)]
        found = [await there.sessions.find(session.id, AGENT, "support") for session in made]
        return [session is not None for session in found], await there.sessions.find(other.id, OTHER_AGENT, "support")

    live, other = run_twice(use)
    assert live == [False, False, True, True, True]
    assert other is not None
    assert McpSession.objects.count() == 4, "who begins sessions all day fills no table"


@with_database
def test_what_a_client_made_us_keep_goes_with_its_session() -> None:
    async def use(here: StoredPorts, there: StoredPorts) -> Any:
        session = await a_session(here, sampling={}, roots={})
        await here.sessions.end(await here.sessions.set_subscriptions(session, ("test://a",)))

    run_twice(use)
    assert (row().capabilities, row().subscriptions) == ({}, [])
