"""Closes what a dead gateway process left open, so that no intent stays without an outcome.

Only the owner of an intent can say that it was not sent; whoever comes later can only say `unknown`.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from audit.event import AuditEvent, first_id_at
from audit.models import EventRow
from audit.record import record
from gateway.models import GatewayProcess

DEAD_AFTER = timedelta(seconds=10)
CLOCKS_DIFFER = timedelta(seconds=1)


def recover() -> int:
    """Declares silent processes dead and closes their open calls; returns how many. Safe to run anywhere, twice."""
    return sum(_bury(process) for process in _silent()) + _settle()


def close_open_calls(process: GatewayProcess) -> int:
    """Closes the open intents of a process that has ended."""
    return sum(_close(intent) for intent in _open_intents(process))


def _silent() -> QuerySet[GatewayProcess]:
    return GatewayProcess.objects.filter(ended_at=None, beat_at__lt=Now() - DEAD_AFTER)


def _settle() -> int:
    """One that woke up while it was declared dead may have opened one more call; after that no commit lets it. Each is
    looked at until that was done once after its last transaction, however late that is."""
    ended = GatewayProcess.objects.filter(ended_at__isnull=False, oldest_in_flight__isnull=False)
    over = list(ended.filter(ended_at__lt=Now() - 2 * DEAD_AFTER).values_list("id", flat=True))
    closed = sum(map(close_open_calls, ended))
    GatewayProcess.objects.filter(id__in=over).update(oldest_in_flight=None)
    return closed


def _bury(process: GatewayProcess) -> int:
    """Whoever dies while closing leaves the burial to the next: death is declared last."""
    closed = close_open_calls(process)
    _silent().filter(id=process.id).update(ended_at=Now())
    return closed


def _open_intents(process: GatewayProcess) -> list[EventRow]:
    """Read to the end at once: on SQLite a reader that is still open may not begin to write.

    Ids of one millisecond are in no order, so the bound is taken down to a moment before it.
    """
    outcome = EventRow.objects.filter(call_id=OuterRef("call_id"), kind="call.outcome")
    oldest = process.oldest_in_flight
    since = first_id_at((process.started_at if oldest is None else _moment_of(oldest)) - CLOCKS_DIFFER)
    intents = EventRow.objects.filter(kind="call.intent", process_id=process.id, id__gte=since)
    return list(intents.filter(~Exists(outcome)))


def _moment_of(event_id: UUID) -> datetime:
    return datetime.fromtimestamp((event_id.int >> 80) / 1000, UTC)


def _close(intent: EventRow) -> int:
    event = AuditEvent(
        kind="call.outcome",
        at=datetime.now(UTC),
        actor="system:recovery",
        call_id=intent.call_id,
        agent=intent.agent,
        person=intent.person,
        connector=intent.connector,
        tool=intent.tool,
        decision=intent.decision,
        outcome="unknown",
        process_id=intent.process_id,
        session=intent.session,
        decided_epoch=intent.epoch,
        details={"code": "process_died"},
    )
    try:
        with transaction.atomic():
            record(event)
    except IntegrityError:
        return 0
    return 1
