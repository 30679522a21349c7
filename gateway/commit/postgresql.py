"""The group commit on PostgreSQL: one autocommitted call of `gatehouse_commit`, on one connection."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from struct import Struct
from typing import Any
from uuid import UUID

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

from audit.record import Row
from gateway.commit.entry import Committed, CommitUncertain, Entry, EvidenceUnavailable, RecordRefused, Verdict, encoded
from gateway.commit.group import BOOT_CLOCK

TEXT, TEXT_ARRAY, BYTEA, BYTEA_ARRAY = 25, 1009, 17, 1001
ARRAY_HEAD = Struct("!iiIii")
LENGTH = Struct("!i")
NULL = LENGTH.pack(-1)
COMMIT = f"SELECT current_epoch, verdicts FROM gatehouse_commit(%s::text::uuid{', %b' * 17})"  # noqa: S608  (only placeholders)
OPEN_INTENTS = """
    SELECT i.call_id FROM audit_event i WHERE i.kind = 'call.intent' AND i.call_id = ANY(%s)
    AND NOT EXISTS (SELECT FROM audit_event o WHERE o.kind = 'call.outcome' AND o.call_id = i.call_id)
"""
SESSION = (
    "-c default_transaction_isolation=read\\ committed -c idle_in_transaction_session_timeout=500ms"
    " -c lock_timeout=2s -c statement_timeout=5s -c client_connection_check_interval=500ms -c jit=off"
)


class Packed(bytes):
    """A whole array in PostgreSQL's binary format: several times cheaper than adapting it element by element."""

    oid = TEXT_ARRAY


class PackedBytes(Packed):
    oid = BYTEA_ARRAY


class _PackedDumper(Dumper):
    format = Format.BINARY
    oid = TEXT_ARRAY

    def dump(self, obj: Any) -> Buffer:
        return bytes(obj)


class _PackedBytesDumper(_PackedDumper):
    oid = BYTEA_ARRAY


def pack(values: Sequence[bytes | None], element_oid: int) -> bytes:
    """One-dimensional array, binary wire format (PostgreSQL source, array_send)."""
    if not values:
        return ARRAY_HEAD.pack(0, 0, element_oid, 0, 0)[:12]
    body = b"".join(NULL if value is None else LENGTH.pack(len(value)) + value for value in values)
    return ARRAY_HEAD.pack(1, 1, element_oid, len(values), 1) + body


def _texts(values: Iterable[str | None]) -> Packed:
    return Packed(pack([None if value is None else value.encode() for value in values], TEXT))


def _bytes(values: Iterable[bytes | None]) -> PackedBytes:
    return PackedBytes(pack(list(values), BYTEA))


class PostgresqlBackend:
    """Reconnects on the next group after a lost connection; never repeats a group by itself."""

    def __init__(self, conninfo: str, process_id: UUID) -> None:
        self._conninfo = conninfo
        self._process = process_id.hex
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._connecting = asyncio.Lock()

    async def commit(self, group: list[Entry]) -> list[Committed]:
        columns = _columns(encoded(group), group)
        connection = await self._connect()
        try:
            cursor = await connection.execute(COMMIT, [self._process, *columns], prepare=True)
            row = await cursor.fetchone()
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise RecordRefused(type(error).__name__) from error
        except (psycopg.Error, OSError) as error:
            is_rolled_back = _is_answer(error) and not connection.closed
            await self._drop(connection)
            raise (EvidenceUnavailable if is_rolled_back else CommitUncertain)(type(error).__name__) from error
        returned = time.clock_gettime_ns(BOOT_CLOCK)
        if row is None:
            raise EvidenceUnavailable("the database answered without a verdict")
        epoch, verdicts = row
        return [Committed(Verdict(verdict), epoch, returned) for verdict in verdicts]

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
        connection.adapters.register_dumper(Packed, _PackedDumper)
        connection.adapters.register_dumper(PackedBytes, _PackedBytesDumper)
        return connection

    async def _drop(self, connection: psycopg.AsyncConnection[Any]) -> None:
        if self._connection is connection:
            self._connection = None
        with suppress(psycopg.Error, OSError):
            await connection.close()


def _is_answer(error: Exception) -> bool:
    """Whether the server itself said no; else the connection was lost before it could say anything."""
    return isinstance(error, psycopg.Error) and error.sqlstate is not None


def _columns(rows: list[Row], group: list[Entry]) -> list[Packed]:
    payloads = [entry.payload for entry in group]
    return [
        _texts(row.id.hex for row in rows),
        _texts(row.kind for row in rows),
        _texts(row.at.isoformat() for row in rows),
        _texts(row.call_id.hex if row.call_id else None for row in rows),
        _texts(row.actor for row in rows),
        _texts(row.agent for row in rows),
        _texts(row.person for row in rows),
        _texts(row.connector for row in rows),
        _texts(row.tool for row in rows),
        _texts(row.decision for row in rows),
        _texts(row.outcome for row in rows),
        _texts(str(row.decided_epoch) for row in rows),
        _bytes(row.header for row in rows),
        _texts(payload.key_id if payload else None for payload in payloads),
        _bytes(payload.sealed if payload else None for payload in payloads),
        _texts(_moment(entry.valid_until) for entry in group),
        _texts(_array_literal(entry.read_set) for entry in group),
    ]


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _array_literal(read_set: frozenset[str] | None) -> str | None:
    """Entries are `kind:hex`, so nothing needs quoting."""
    return None if read_set is None else "{" + ",".join(read_set) + "}"
