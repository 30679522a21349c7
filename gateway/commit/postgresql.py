"""The group commit on PostgreSQL: one autocommitted call of `gatehouse_commit`, on one connection."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from itertools import chain
from struct import Struct
from typing import Any
from uuid import UUID

import orjson
import psycopg
from psycopg import generators
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

from audit.record import Row
from gateway.commit.entry import (
    Committed,
    CommitUncertain,
    Entry,
    EvidenceUnavailable,
    RecordRefused,
    Run,
    Verdict,
    encoded,
)
from gateway.commit.group import BOOT_CLOCK
from gateway.commit.sent_rows import SentRow, rows_of

TEXT, TEXT_ARRAY, BYTEA, BYTEA_ARRAY = 25, 1009, 17, 1001
ARRAY_HEAD = Struct("!iiIii")
LENGTH = Struct("!i")
NULL = LENGTH.pack(-1)
BEHIND = ord("5")
"""Committed, and pieces of other processes were not looked at with it."""
VERDICTS = {**{ord(verdict.value): verdict for verdict in Verdict}, BEHIND: Verdict.COMMITTED}
STATEMENT = b"commit"
PARAMETERS = (TEXT, *(TEXT_ARRAY,) * 13, BYTEA_ARRAY, TEXT_ARRAY, BYTEA_ARRAY, *(TEXT_ARRAY,) * 3)
FORMATS = (Format.BINARY,) * len(PARAMETERS)
MARKS = ", ".join(f"${number}" for number in range(2, len(PARAMETERS) + 1))
COMMIT = f"SELECT current_epoch, verdicts FROM gatehouse_commit($1::text::uuid, {MARKS})"  # noqa: S608  (only placeholders)
OPEN_INTENTS = """
    SELECT i.call_id FROM audit_event i WHERE i.kind = 'call.intent' AND i.call_id = ANY(%s)
    AND NOT EXISTS (SELECT FROM audit_event o WHERE o.kind = 'call.outcome' AND o.call_id = i.call_id)
"""
SESSION = (
    "-c default_transaction_isolation=read\\ committed -c idle_in_transaction_session_timeout=500ms"
    " -c lock_timeout=2s -c statement_timeout=5s -c client_connection_check_interval=500ms -c jit=off"
)


def _array(element_oid: int, count: int, fields: Iterable[bytes]) -> bytes:
    """One-dimensional array, binary wire format (PostgreSQL source, array_send). Payloads are large: copied once."""
    return b"".join((ARRAY_HEAD.pack(1, 1, element_oid, count, 1), *fields))


def _field(text: str | None) -> bytes:
    if text is None:
        return NULL
    value = text.encode()
    return LENGTH.pack(len(value)) + value


_known_field = lru_cache(maxsize=1024)(_field)


def _texts(values: Sequence[str | None]) -> bytes:
    return _array(TEXT, len(values), map(_field, values))


def _names(values: Sequence[str | None]) -> bytes:
    """Texts of which there are few, again and again."""
    return _array(TEXT, len(values), map(_known_field, values))


def _bytes(values: Sequence[bytes | None]) -> bytes:
    fields = ((NULL,) if value is None else (LENGTH.pack(len(value)), value) for value in values)
    return _array(BYTEA, len(values), chain.from_iterable(fields))


class PostgresqlBackend:
    """Reconnects on the next group after a lost connection; never repeats a group by itself."""

    def __init__(self, conninfo: str, process_id: UUID) -> None:
        self._conninfo = conninfo
        self._process = process_id.hex.encode()
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._connecting = asyncio.Lock()

    async def commit(self, group: list[Entry]) -> list[Committed]:
        parameters = [self._process, *_columns(encoded(group), group), _extras(group)]
        connection = await self._connect()
        try:
            async with connection.lock:
                result = await connection.wait(_run(connection.pgconn, parameters))
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise RecordRefused(type(error).__name__) from error
        except (psycopg.Error, OSError) as error:
            is_rolled_back = _is_answer(error) and not connection.closed
            await self._drop(connection)
            raise (EvidenceUnavailable if is_rolled_back else CommitUncertain)(type(error).__name__) from error
        returned = time.clock_gettime_ns(BOOT_CLOCK)
        epoch, verdicts = result.get_value(0, 0), result.get_value(0, 1)
        if epoch is None or verdicts is None:
            raise EvidenceUnavailable("the database answered without a verdict")
        number = int.from_bytes(epoch, signed=True)
        return [Committed(VERDICTS[verdict], number, returned, verdict == BEHIND) for verdict in verdicts]

    async def intents_among(self, call_ids: list[UUID]) -> set[UUID]:
        connection = await self._connect()
        try:
            cursor = await connection.execute(OPEN_INTENTS, [call_ids])
            return {row[0] for row in await cursor.fetchall()}
        except (psycopg.Error, OSError) as error:
            await self._drop(connection)
            raise EvidenceUnavailable(type(error).__name__) from error

    async def close(self) -> None:
        if self._connection is not None:
            await self._drop(self._connection)

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        async with self._connecting:
            if self._connection is None or self._connection.closed:
                try:
                    self._connection = await self._new_connection()
                except (psycopg.Error, OSError) as error:
                    raise EvidenceUnavailable(type(error).__name__) from error
            return self._connection

    async def _new_connection(self) -> psycopg.AsyncConnection[Any]:
        given = psycopg.conninfo.conninfo_to_dict(self._conninfo).get("options", "")
        connection = await psycopg.AsyncConnection.connect(
            self._conninfo, autocommit=True, options=f"{given} {SESSION}".strip(), connect_timeout=5
        )
        try:
            await connection.wait(_prepare(connection.pgconn))
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _drop(self, connection: psycopg.AsyncConnection[Any]) -> None:
        if self._connection is connection:
            self._connection = None
        with suppress(psycopg.Error, OSError):
            await connection.close()


def _prepare(connection: PGconn) -> PQGen[None]:
    connection.send_prepare(STATEMENT, COMMIT.encode(), PARAMETERS)
    _checked((yield from generators.execute(connection)), ExecStatus.COMMAND_OK)


def _run(connection: PGconn, parameters: list[bytes | None]) -> PQGen[PGresult]:
    """Without a cursor, which would cost more than packing twenty records. Raises psycopg.Error."""
    connection.send_query_prepared(STATEMENT, parameters, FORMATS, result_format=Format.BINARY)
    return _checked((yield from generators.execute(connection)), ExecStatus.TUPLES_OK)


def _checked(results: list[PGresult], wanted: ExecStatus) -> PGresult:
    result = results[-1]
    if result.status != wanted:
        raise psycopg.errors.error_from_result(result)
    return result


def _is_answer(error: Exception) -> bool:
    """Whether the server itself said no; else the connection was lost before it could say anything."""
    return isinstance(error, psycopg.Error) and error.sqlstate is not None


def _columns(rows: list[Row], group: list[Entry]) -> list[bytes]:
    (ids, kinds, ats, calls, actors, agents, persons, connectors, tools, decisions, outcomes, _, sessions, decided,
     headers) = zip(*rows, strict=True)  # fmt: skip
    payloads = [entry.payload for entry in group]
    literals = {read_set: _array_literal(read_set) for read_set in {entry.read_set for entry in group}}
    return [
        _texts([event_id.hex for event_id in ids]),
        _names(kinds),
        _texts([_moment(at) for at in ats]),
        _texts([call_id.hex if call_id else None for call_id in calls]),
        _names(actors),
        _names(agents),
        _names(persons),
        _names(connectors),
        _names(tools),
        _names(decisions),
        _names(outcomes),
        _names([session.hex if session else None for session in sessions]),
        _names([str(epoch) for epoch in decided]),
        _bytes(headers),
        _names([payload.key_id if payload else None for payload in payloads]),
        _bytes([payload.sealed if payload else None for payload in payloads]),
        _texts([_moment(entry.valid_until) for entry in group]),
        _texts([literals[entry.read_set] for entry in group]),
    ]


def _extras(group: list[Entry]) -> bytes | None:
    """What few records have beside themselves; NULL for a group without any, which then costs nothing more."""
    if not any(entry.claim or entry.seen or entry.met or entry.sent for entry in group):
        return None
    rows = rows_of((position, entry.sent) for position, entry in enumerate(group) if entry.sent is not None)
    sent = {position: told for row in rows for position, told in _of_pieces(row)}
    return _texts([_extra(entry, sent.get(position)) for position, entry in enumerate(group)])


def _of_pieces(row: SentRow) -> Iterator[tuple[int, dict[str, Any]]]:
    """By position: what each of its calls says, and the first of them the row itself. `row` is the place of the first,
    as the database counts."""
    first = row.members[0][0]
    for position, sent in row.members:
        told = {"agent": sent.agent_id, "process": sent.process, "read_to": sent.read_to, "row": first + 1}
        if position == first:
            told |= {"person": sent.person_id, "sealed": row.sealed.hex(), "is_pruning": row.is_pruning}
        yield position, told


def _extra(entry: Entry, sent: dict[str, Any] | None) -> str | None:
    extra: dict[str, Any] = {}
    if entry.claim is not None:
        claim = entry.claim
        extra["claim"] = {"approval": claim.approval, "digest": claim.call_digest.hex(), "grants": claim.grants}
    for name, run in (("seen", entry.seen), ("met", entry.met)):
        if run is not None:
            extra[name] = _of_run(run)
    if sent is not None:
        extra["sent"] = sent
    return orjson.dumps(extra).decode() if extra else None


def _of_run(run: Run) -> dict[str, Any]:
    told: dict[str, Any] = {"agent": run.agent_id, "session": run.session, "labels": sorted(run.labels)}
    if run.reach is not None:
        told["reach"] = {"digests": sorted(run.reach.digests), "untrusted": sorted(run.reach.untrusted)}
    if run.mentions is not None:
        told["mentions"] = {
            ("trusted" if run.mentions.is_trusted else "untrusted"): sorted(run.mentions.digests),
            "sent": sorted(run.mentions.sent),
        }
    return told


def _moment(at: datetime | None) -> str | None:
    """RFC 3339, four times cheaper than by `isoformat`."""
    return None if at is None else orjson.dumps(at)[1:-1].decode()


def _array_literal(read_set: frozenset[str] | None) -> str | None:
    """Entries are `kind:hex`, so nothing needs quoting."""
    return None if read_set is None else "{" + ",".join(read_set) + "}"
