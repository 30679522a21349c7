"""Short ways to fill the log."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import connection

from audit.checkpoint import Signer
from audit.event import AuditEvent, uuid7
from audit.record import record
from audit.sequencer import Sequencer

NOON = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)


def event(kind: str = "call.refused", *, call_id: UUID | None = None, tool: str = "ticket_get") -> AuditEvent:
    return AuditEvent(
        kind=kind,
        at=NOON,
        actor="agent:triage-bot",
        agent="triage-bot",
        tool=tool,
        call_id=call_id,
        details={"rule": "r"},
    )


def record_call() -> UUID:
    """An intent and its outcome."""
    call_id = uuid7()
    record(event("call.intent", call_id=call_id))
    record(event("call.outcome", call_id=call_id))
    return call_id


def seal(signer: Signer, *, now: datetime = NOON) -> int:
    """What a sequencer does between its start and its stop."""
    return Sequencer(signer).advance(now, sign_every=timedelta(0))


def execute(sql: str, *params: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def lower_guards(table: str) -> None:
    """What an adversary with all rights on the database does first."""
    if connection.vendor == "postgresql":
        execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [table])
        for (name,) in cursor.fetchall():
            cursor.execute(f"DROP TRIGGER {name}")
