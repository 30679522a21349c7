"""The group commit on SQLite: BEGIN IMMEDIATE makes the writer alone, so a plain read of the epoch is the fence."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from audit.record import PayloadRow, insert_many
from gateway.commit.entry import Committed, CommitUncertain, Entry, EvidenceUnavailable, RecordRefused, Verdict, encoded
from gateway.commit.group import BOOT_CLOCK
from gateway.commit.sqlite_claims import add_labels, consume
from gateway.commit.sqlite_pieces import keep_pieces
from governance.fence.lockfile import WriteLock, WriteLockTimeout

TOUCHED = """
    SELECT CASE c.object_id WHEN '*' THEN '*' ELSE c.kind || ':' || c.object_id END, max(a.epoch)
    FROM governance_advance a JOIN governance_change c ON c.txid = a.txid WHERE a.epoch > ? GROUP BY 1
"""


OPEN_INTENT = """
    SELECT i.call_id FROM audit_event i WHERE i.kind = 'call.intent' AND i.call_id = ?
    AND NOT EXISTS (SELECT 1 FROM audit_event o WHERE o.kind = 'call.outcome' AND o.call_id = i.call_id)
"""


DEAD_PROCESS = "SELECT 1 FROM gateway_gatewayprocess WHERE id = ? AND ended_at IS NOT NULL"


class SqliteBackend:
    """One connection on one thread of its own, so that the event loop never waits for the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="group-commit")
        self._connection: sqlite3.Connection | None = None
        self._lock = WriteLock(f"{path}.lock")

    async def commit(self, group: list[Entry]) -> list[Committed]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, group)

    async def intents_among(self, call_ids: list[UUID]) -> set[UUID]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._open_intents, call_ids)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _commit(self, group: list[Entry]) -> list[Committed]:
        rows = encoded(group)
        with self._transaction() as connection:
            _refuse_the_dead(connection, group)
            epoch, trimmed = connection.execute("SELECT number, trimmed_to FROM governance_epoch").fetchone()
            verdicts = self._verdicts(connection, group, epoch, trimmed)
            consume(connection, group, verdicts)
            fresh = [i for i, verdict in enumerate(verdicts) if verdict is Verdict.COMMITTED]
            payloads = [
                PayloadRow(group[i].event.id, payload.key_id, payload.sealed)
                for i in fresh
                if (payload := group[i].payload) is not None
            ]
            insert_many(connection, [rows[i] for i in fresh], epoch=epoch, payloads=payloads)
            add_labels(connection, [group[i] for i in fresh])
            behind = keep_pieces(connection, [(i, sent) for i in fresh if (sent := group[i].sent) is not None])
        returned = time.clock_gettime_ns(BOOT_CLOCK)
        return [Committed(verdict, epoch, returned, i in behind) for i, verdict in enumerate(verdicts)]

    def _verdicts(self, connection: sqlite3.Connection, group: list[Entry], epoch: int, trimmed: int) -> list[Verdict]:
        fenced = [entry.event.decided_epoch for entry in group if entry.read_set is not None]
        oldest = min(fenced, default=epoch)
        changed = dict(connection.execute(TOUCHED, [oldest])) if oldest < epoch else {}
        recorded = _recorded(connection, group)
        now = datetime.now(UTC)
        return [
            Verdict.STALE
            if _is_stale(entry, epoch, trimmed, changed, now)
            else Verdict.DUPLICATE
            if entry.event.call_id is not None and (entry.event.call_id.hex, entry.event.kind) in recorded
            else Verdict.COMMITTED
            for entry in group
        ]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._lock.acquire()
        except (WriteLockTimeout, OSError) as error:
            raise EvidenceUnavailable(str(error)) from error
        try:
            connection = self._connect()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                _commit(connection)
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError) as error:
            raise RecordRefused(type(error).__name__) from error
        except sqlite3.Error as error:
            raise EvidenceUnavailable(type(error).__name__) from error
        finally:
            self._lock.release()

    def _open_intents(self, call_ids: list[UUID]) -> set[UUID]:
        try:
            found = [self._connect().execute(OPEN_INTENT, [call_id.hex]).fetchone() for call_id in call_ids]
            return {UUID(row[0]) for row in found if row is not None}
        except sqlite3.Error as error:
            raise EvidenceUnavailable(type(error).__name__) from error

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(self._path, timeout=2, isolation_level=None)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            self._connection = connection
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._lock.close()


def _commit(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        raise CommitUncertain(type(error).__name__) from error


def _refuse_the_dead(connection: sqlite3.Connection, group: list[Entry]) -> None:
    """Raises EvidenceUnavailable for a process declared dead: nobody would close what it opens now."""
    process = next((entry.event.process_id for entry in group if entry.read_set is not None), None)
    if process is not None and connection.execute(DEAD_PROCESS, [process.hex]).fetchone():
        raise EvidenceUnavailable("this process was declared dead")


def _is_stale(entry: Entry, epoch: int, trimmed: int, changed: dict[str, int], now: datetime) -> bool:
    """`changed` says in which epoch a thing was touched last."""
    if entry.read_set is None:
        return False
    decided = entry.event.decided_epoch
    if decided > epoch or decided < trimmed or (entry.valid_until is not None and entry.valid_until <= now):
        return True
    return bool(changed) and any(changed.get(key, 0) > decided for key in (*entry.read_set, "*"))


def _recorded(connection: sqlite3.Connection, group: list[Entry]) -> set[tuple[str, str]]:
    """(call id, kind) of what the calls of this group have on record already, in one query."""
    calls = [entry.event.call_id.hex for entry in group if entry.event.call_id is not None]
    marks = ", ".join("?" * len(calls))
    query = f"SELECT call_id, kind FROM audit_event WHERE call_id IN ({marks})"  # noqa: S608  (only placeholders)
    return set(connection.execute(query, calls))
