"""The only writer of evidence: event, payload and place in the queue, in one transaction of the caller's.

`record` is for Django transactions. The gateway's group commit encodes first and inserts whole groups: on
PostgreSQL through its own function, on SQLite through `insert_many`.
"""

import hmac
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from audit.event import AuditEvent
from audit.models import EventRow, Payload, Pending

MAX_COLUMN_CHARS = 255


class Row(NamedTuple):
    """An event as the columns of `audit_event`, in this order; the database adds the fenced `epoch`."""

    id: UUID
    kind: str
    at: datetime
    call_id: UUID | None
    actor: str
    agent: str
    person: str
    connector: str
    tool: str
    decision: str
    outcome: str
    process_id: UUID | None
    session: UUID | None
    decided_epoch: int
    header: bytes


COLUMNS = Row._fields

INSERT_EVENT = f"INSERT INTO audit_event ({', '.join(COLUMNS)}, epoch) VALUES ({'?, ' * len(COLUMNS)}?)"  # noqa: S608
INSERT_PAYLOAD = "INSERT INTO audit_payload (event_id, key_id, sealed) VALUES (?, ?, ?)"
INSERT_PENDING = "INSERT INTO audit_pending (event_id) VALUES (?)"


class SealedPayload(NamedTuple):
    """A payload already encrypted, under the key of this id."""

    key_id: str
    sealed: bytes


class PayloadRow(NamedTuple):
    """The columns of `audit_payload`, in this order."""

    event_id: UUID
    key_id: str
    sealed: bytes


class Cursor(Protocol):
    """What `insert_many` needs of a DB-API cursor with `?` placeholders."""

    def executemany(self, sql: str, rows: Sequence[tuple[Any, ...]], /) -> Any: ...


def commit_to(plaintext: bytes) -> tuple[bytes, bytes]:
    """(commitment, blinding key). Once the key, kept only in the sealed payload, is gone, it says nothing."""
    blinding = os.urandom(32)
    return commitment(plaintext, blinding), blinding


def commitment(plaintext: bytes, blinding: bytes) -> bytes:
    return hmac.digest(blinding, plaintext, "sha256")


@lru_cache(maxsize=1024)
def as_column(text: str) -> str:
    """Text as an index column may hold it: PostgreSQL refuses NUL, and a B-tree key has a size limit.

    Agents choose some of these texts. The header keeps them whole.
    """
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")[:MAX_COLUMN_CHARS]


def encode(event: AuditEvent) -> Row:
    """TypeError if the details are not JSON."""
    return Row(
        id=event.id,
        kind=event.kind,
        at=event.at,
        call_id=event.call_id,
        actor=as_column(event.actor),
        agent=as_column(event.agent),
        person=as_column(event.person),
        connector=as_column(event.connector),
        tool=as_column(event.tool),
        decision=as_column(event.decision),
        outcome=as_column(event.outcome),
        process_id=event.process_id,
        session=event.session,
        decided_epoch=event.decided_epoch,
        header=event.header(),
    )


def record(event: AuditEvent, *, payload: SealedPayload | None = None) -> None:
    """Writes inside the caller's transaction: what it tells of and the evidence stand or fall together.

    IntegrityError for a second event of the same kind and call.
    """
    EventRow.objects.create(**encode(event)._asdict())
    Pending.objects.create(event_id=event.id)
    if payload is not None:
        Payload.objects.create(event_id=event.id, key_id=payload.key_id, sealed=payload.sealed)


def insert_many(cursor: Cursor, rows: Sequence[Row], *, epoch: int, payloads: Sequence[PayloadRow] = ()) -> None:
    """A group of events, decided still valid at `epoch`, inside the caller's SQLite transaction.

    sqlite3.IntegrityError if one repeats a (call_id, kind): the caller rolls back, as some rows may be in.
    """
    cursor.executemany(INSERT_PAYLOAD, [(row.event_id.hex, row.key_id, row.sealed) for row in payloads])
    cursor.executemany(INSERT_EVENT, [(*_for_sqlite(row), epoch) for row in rows])
    cursor.executemany(INSERT_PENDING, [(row.id.hex,) for row in rows])


def _for_sqlite(row: Row) -> tuple[Any, ...]:
    """Django's own storage format: UUIDs as 32 hex digits, times as naive UTC."""
    call_id = row.call_id.hex if row.call_id else None
    process_id = row.process_id.hex if row.process_id else None
    session = row.session.hex if row.session else None
    at = str(row.at.astimezone(UTC).replace(tzinfo=None))
    return (row.id.hex, row.kind, at, call_id, *row[4:11], process_id, session, *row[13:])
