"""The group commit with its real backends: what it makes durable, what it refuses, and what it says when unsure."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import pytest
from django.db import connection

from audit.event import AuditEvent, uuid7
from audit.models import EventRow, Payload, Pending
from audit.record import SealedPayload
from gateway.commit.entry import Committed, Entry, EvidenceUnavailable, RecordRefused, Verdict
from gateway.commit.group import GROUP_BYTES, GROUP_LIMIT, GroupCommitter
from gateway.commit.postgresql import PostgresqlBackend
from gateway.commit.sqlite import SqliteBackend
from gateway.database import connection_parameters
from governance.fence import FENCE_KEY
from governance.fence.lockfile import WriteLock
from governance.fence.log import trim_change_log
from governance.models import Agent, Epoch, Freeze, Team, User
from tests.fresh_database import fresh_database, server_parameters

__all__ = ("fresh_database",)
pytestmark = [pytest.mark.database, pytest.mark.usefixtures("fresh_database")]

Result = TypeVar("Result")
COMMITTED, STALE, DUPLICATE = Verdict.COMMITTED, Verdict.STALE, Verdict.DUPLICATE


def backend() -> PostgresqlBackend | SqliteBackend:
    if connection.vendor == "postgresql":
        return PostgresqlBackend(psycopg.conninfo.make_conninfo(**connection_parameters()), uuid7())
    return SqliteBackend(Path(connection.settings_dict["NAME"]))


def with_committer(use: Callable[[GroupCommitter], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        committer = GroupCommitter(backend())
        try:
            return await use(committer)
        finally:
            await committer.close()

    return asyncio.run(run())


def commit(*entries: Entry) -> list[Any]:
    """All in one group; a refused one is told as its exception."""
    return with_committer(
        lambda committer: asyncio.gather(*(committer.commit(entry) for entry in entries), return_exceptions=True)
    )


def verdicts(*entries: Entry) -> list[Verdict]:
    return [committed.verdict for committed in commit(*entries)]


def entry(kind: str = "call.intent", *, call_id: UUID | None = None, **fields: Any) -> Entry:
    """A record that needs no fence, unless it has a `read_set`."""
    event = AuditEvent(
        kind=kind,
        at=datetime.now(UTC),
        actor="agent:triage-bot",
        agent="triage-bot",
        call_id=call_id or uuid7(),
        decided_epoch=fields.pop("decided", 0),
        details=fields.pop("details", {}),
    )
    return Entry(event, **fields)


def decided_now(*read_set: str, **fields: Any) -> Entry:
    return entry(decided=epoch(), read_set=frozenset(read_set), **fields)


def epoch() -> int:
    return Epoch.objects.get().number


def is_stored(written: Entry) -> bool:
    return EventRow.objects.filter(id=written.event.id).exists()


def payload(size: int = 10) -> SealedPayload:
    return SealedPayload("key", bytes(size))


@pytest.fixture
def agent() -> Agent:
    return Agent.objects.create(name="triage-bot", owner=User.objects.create_user("ana@example.com"))


def touch(agent: Agent) -> None:
    Agent.objects.filter(id=agent.id).update(status="suspended")


# -- what becomes durable


def test_a_record_is_durable_with_its_payload_and_its_place_in_the_queue() -> None:
    written = entry(payload=payload())
    [committed] = commit(written)
    assert committed.verdict is COMMITTED
    row = EventRow.objects.get(id=written.event.id)
    assert bytes(row.header) == written.event.header()
    assert row.epoch == committed.epoch == epoch()
    assert bytes(Payload.objects.get(event_id=row.id).sealed) == bytes(10)
    assert Pending.objects.filter(event_id=row.id).exists()


def test_arrivals_share_a_group_and_each_gets_its_own_answer(agent: Agent) -> None:
    stale = decided_now(f"agent:{agent.id.hex}")
    duplicate = entry()
    touch(agent)
    entries = [entry(), stale, duplicate, entry(call_id=duplicate.event.call_id), entry("call.refused")]
    assert verdicts(*entries) == [COMMITTED, STALE, COMMITTED, DUPLICATE, COMMITTED]
    assert [is_stored(one) for one in entries] == [True, False, True, False, True]


def test_any_bytes_and_nul_in_any_text_are_kept() -> None:
    hostile = entry(payload=SealedPayload("key", b"\0\xff\x00'"), details={"a\0b": "\0", "\u2028": "' \\ {},"})
    assert verdicts(hostile) == [COMMITTED]
    assert bytes(EventRow.objects.get(id=hostile.event.id).header) == hostile.event.header()
    assert bytes(Payload.objects.get(event_id=hostile.event.id).sealed) == b"\0\xff\x00'"


def test_a_second_record_of_a_kind_for_a_call_is_a_duplicate_and_leaves_nothing() -> None:
    first = entry("call.outcome")
    second = entry("call.outcome", call_id=first.event.call_id, payload=payload())
    assert verdicts(first) == [COMMITTED]
    assert verdicts(second) == [DUPLICATE]
    assert not is_stored(second)
    assert not Payload.objects.filter(event_id=second.event.id).exists()


# -- poison


@pytest.mark.parametrize(
    "details", [{"n": 2**70}, {"lone": "\ud800"}, {"object": object()}], ids=["huge number", "surrogate", "no JSON"]
)
def test_a_record_that_cannot_be_written_does_not_harm_its_group(details: dict[str, Any]) -> None:
    good, poison, also_good = entry(), entry(details=details), entry()
    first, refused, third = commit(good, poison, also_good)
    assert (first.verdict, third.verdict) == (COMMITTED, COMMITTED)
    assert isinstance(refused, RecordRefused)


def test_a_record_the_database_refuses_does_not_harm_its_group() -> None:
    taken = entry()
    assert verdicts(taken) == [COMMITTED]
    poison = Entry(AuditEvent(kind="x", at=datetime.now(UTC), actor="a", id=taken.event.id))
    first, refused, third = commit(entry(), poison, entry())
    assert (first.verdict, third.verdict) == (COMMITTED, COMMITTED)
    assert isinstance(refused, RecordRefused)


# -- the fence


def test_a_change_of_something_in_the_read_set_makes_a_decision_stale(agent: Agent) -> None:
    decided = decided_now(f"agent:{agent.id.hex}", "tool:00")
    touch(agent)
    [committed] = commit(decided)
    assert committed.verdict is STALE
    assert committed.epoch == epoch()
    assert not is_stored(decided)


def test_a_change_of_something_else_does_not(agent: Agent) -> None:
    decided = decided_now("agent:00", "tool:00")
    touch(agent)
    assert verdicts(decided) == [COMMITTED]


def test_a_global_change_makes_every_decision_stale() -> None:
    decided = decided_now("agent:00")
    Freeze.objects.create(created_by="test")
    assert verdicts(decided) == [STALE]


def test_a_change_counts_only_against_decisions_older_than_it(agent: Agent) -> None:
    """A slow call's outcome, decided long ago, must not make the new decisions in its group look stale."""
    old = decided_now(f"agent:{agent.id.hex}")
    touch(agent)
    Freeze.objects.create(created_by="test")
    new = decided_now(f"agent:{agent.id.hex}")
    assert verdicts(old, new) == [STALE, COMMITTED]


def test_a_decision_is_stale_once_its_time_is_over() -> None:
    now = datetime.now(UTC)
    over = decided_now("agent:00", valid_until=now - timedelta(milliseconds=1))
    running = decided_now("agent:00", valid_until=now + timedelta(minutes=1))
    assert verdicts(over, running) == [STALE, COMMITTED]


def test_a_decision_from_before_the_trimmed_log_is_stale() -> None:
    old = decided_now("agent:00")
    Team.objects.create(name="one")
    fresh = decided_now("agent:00")
    assert trim_change_log(keep=timedelta(0)) == 1
    assert verdicts(old, fresh) == [STALE, COMMITTED]


def test_a_decision_from_an_epoch_that_has_not_been_is_stale() -> None:
    """As after a restore: the snapshot in memory knows changes that this database never saw."""
    assert verdicts(entry(decided=epoch() + 1, read_set=frozenset({"agent:00"}))) == [STALE]


def test_a_record_without_a_read_set_is_never_stale() -> None:
    written = entry("call.outcome", decided=epoch())
    Freeze.objects.create(created_by="test")
    assert verdicts(written) == [COMMITTED]


def test_a_stale_record_leaves_no_payload_behind(agent: Agent) -> None:
    stale = decided_now(f"agent:{agent.id.hex}", payload=payload())
    touch(agent)
    others = [entry(payload=payload()), entry(payload=payload())]
    assert verdicts(others[0], stale, others[1]) == [COMMITTED, STALE, COMMITTED]
    assert set(Payload.objects.values_list("event_id", flat=True)) == {other.event.id for other in others}


def test_a_group_waits_for_a_change_that_is_being_committed(agent: Agent) -> None:
    """PostgreSQL: the exclusive fence held; the group may not have read the epoch of before it."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer")
    decided = decided_now(f"agent:{agent.id.hex}")

    async def race(committer: GroupCommitter) -> Committed:
        async with await psycopg.AsyncConnection.connect(**connection_parameters()) as revoker:
            await revoker.execute("UPDATE governance_agent SET status = 'retired'")
            await revoker.execute("SELECT pg_advisory_xact_lock(%s)", [FENCE_KEY])
            waiting = asyncio.create_task(committer.commit(decided))
            done, _ = await asyncio.wait([waiting], timeout=0.3)
            assert not done
            await revoker.commit()
            return await waiting

    assert with_committer(race).verdict is STALE


@pytest.mark.parametrize("parameters", [17, 18], ids=["of the release before", "of this release"])
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_the_function_refuses_an_isolation_that_would_read_the_past(level: str, parameters: int) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no such function")
    arguments = ", ".join(["'{}'"] * parameters)
    with psycopg.connect(**connection_parameters()) as caller:
        caller.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        with pytest.raises(psycopg.errors.RaiseException, match="needs read committed"):
            caller.execute(f"SELECT gatehouse_commit('{uuid7()}', {arguments})")


def test_a_database_that_prefers_another_isolation_does_not_get_it(agent: Agent) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has none")
    name = connection.settings_dict["NAME"]
    with psycopg.connect(**server_parameters(), dbname=name, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'repeatable read'")
    decided = decided_now(f"agent:{agent.id.hex}")
    touch(agent)
    assert verdicts(decided, entry()) == [STALE, COMMITTED]


# -- when the database is away


class Proxy:
    """A Unix socket in front of PostgreSQL's; `lose` chooses what happens to the next request."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lose = ""
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.folder / ".s.PGSQL.5432")

    async def close(self) -> None:
        """Returns when every connection is closed: one left to the garbage collector fails another test."""
        assert self._server is not None
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        host = server_parameters()["host"]
        upstream_reader, upstream_writer = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.5432")

        async def requests() -> None:
            while data := await reader.read(65536):
                if self.lose == "request":
                    break
                upstream_writer.write(data)
            upstream_writer.close()

        async def answers() -> None:
            while (data := await upstream_reader.read(65536)) and self.lose != "answer":
                writer.write(data)
            writer.close()

        try:
            await asyncio.gather(requests(), answers())
        finally:
            for each in (writer, upstream_writer):
                each.close()
                with suppress(OSError):
                    await each.wait_closed()


@pytest.mark.parametrize(("lost", "is_durable"), [("request", False), ("answer", True)])
def test_a_connection_lost_at_commit_leaves_an_uncertain_intent_to_be_closed(
    lost: str, is_durable: bool, tmp_path: Path
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no connection to lose")
    intent = entry(payload=payload())

    async def lose() -> tuple[list[UUID], list[UUID], list[UUID]]:
        proxy = Proxy(tmp_path)
        await proxy.start()
        parameters = connection_parameters() | {"host": str(tmp_path)}
        committer = GroupCommitter(PostgresqlBackend(psycopg.conninfo.make_conninfo(**parameters), uuid7()))
        await committer.commit(entry())
        proxy.lose = lost
        with pytest.raises(EvidenceUnavailable):
            await committer.commit(intent)
        proxy.lose = ""
        noted = [uncertain.call_id for uncertain in committer.uncertain]
        assert await committer.resolve_uncertain(older_than_seconds=60) == []
        open_intents = await committer.resolve_uncertain(older_than_seconds=0)
        assert await committer.resolve_uncertain(older_than_seconds=0) == open_intents, "told until closed"
        for call_id in open_intents:
            await committer.commit(entry("call.outcome", call_id=call_id))
        closed = await committer.resolve_uncertain(older_than_seconds=0)
        assert committer.uncertain == []
        await committer.close()
        await proxy.close()
        return noted, open_intents, closed

    noted, open_intents, closed = asyncio.run(lose())
    assert noted == [intent.event.call_id]
    assert open_intents == ([intent.event.call_id] if is_durable else [])
    assert closed == []
    assert is_stored(intent) is is_durable


def test_a_database_that_is_away_is_told_and_leaves_nothing_uncertain(tmp_path: Path) -> None:
    """An outage of hours must not pile up intents that were never sent."""

    async def fail() -> GroupCommitter:
        nowhere: PostgresqlBackend | SqliteBackend = SqliteBackend(tmp_path / "missing" / "file")
        if connection.vendor == "postgresql":
            nowhere = PostgresqlBackend(psycopg.conninfo.make_conninfo(host=str(tmp_path)), uuid7())
        committer = GroupCommitter(nowhere)
        with pytest.raises(EvidenceUnavailable):
            await committer.commit(entry())
        await committer.close()
        return committer

    assert asyncio.run(fail()).uncertain == []


def test_the_committer_survives_a_server_that_ends_its_session() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no server")

    async def interrupted(committer: GroupCommitter) -> Committed:
        await committer.commit(entry())
        async with await psycopg.AsyncConnection.connect(**connection_parameters(), autocommit=True) as admin:
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%_commit(%'"
                " AND pid <> pg_backend_pid()"
            )
        with pytest.raises(EvidenceUnavailable):
            await committer.commit(entry())
        return await committer.commit(entry())

    assert with_committer(interrupted).verdict is COMMITTED


def test_a_write_lock_that_is_never_free_is_told_after_two_seconds() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL has no lock file")
    holder = WriteLock(f"{connection.settings_dict['NAME']}.lock")
    holder.acquire()
    try:
        [refused] = commit(entry())
        assert isinstance(refused, EvidenceUnavailable)
    finally:
        holder.close()
    assert verdicts(entry()) == [COMMITTED]


# -- groups


class Slow:
    """A backend that takes a turn of the loop for each group and remembers its groups."""

    def __init__(self) -> None:
        self.groups: list[list[Entry]] = []
        self.gate = asyncio.Event()

    async def commit(self, group: list[Entry]) -> list[Committed]:
        self.groups.append(group)
        await self.gate.wait()
        return [Committed(COMMITTED, 1, 0) for _ in group]

    async def intents_among(self, call_ids: list[UUID]) -> set[UUID]:
        return set()

    async def close(self) -> None:
        pass


async def grouped(entries: list[Entry]) -> list[int]:
    slow = Slow()
    committer = GroupCommitter(slow)
    waiting = [asyncio.create_task(committer.commit(one)) for one in entries]
    await asyncio.sleep(0)
    slow.gate.set()
    await asyncio.gather(*waiting)
    await committer.close()
    assert [one for group in slow.groups for one in group] == entries
    return [len(group) for group in slow.groups]


async def test_a_group_takes_all_that_wait_up_to_its_limit() -> None:
    assert await grouped([entry("call.refused") for _ in range(GROUP_LIMIT + 3)]) == [GROUP_LIMIT, 3]


async def test_large_payloads_make_small_groups_and_none_is_too_large() -> None:
    sizes = [GROUP_BYTES // 2, GROUP_BYTES // 2, 1, GROUP_BYTES * 3, 1, 1]
    assert await grouped([entry(payload=payload(size)) for size in sizes]) == [2, 1, 1, 2]


async def test_a_caller_who_gives_up_harms_neither_its_group_nor_the_next() -> None:
    slow = Slow()
    committer = GroupCommitter(slow)
    leaving, staying = (asyncio.create_task(committer.commit(entry())) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    slow.gate.set()
    assert (await staying).verdict is COMMITTED
    assert (await committer.commit(entry())).verdict is COMMITTED
    assert leaving.cancelled()


async def test_closing_waits_for_what_is_queued() -> None:
    slow = Slow()
    committer = GroupCommitter(slow)
    waiting = [asyncio.create_task(committer.commit(entry())) for _ in range(GROUP_LIMIT * 2)]
    await asyncio.sleep(0)
    slow.gate.set()
    await committer.close()
    assert all([(await one).verdict is COMMITTED for one in waiting])
