"""Closes what a dead gateway process left open, so that no intent stays without an outcome.

Only the owner of an intent can say that it was not sent; whoever comes later can only say `unknown`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from audit.event import AuditEvent
from audit.models import EventRow
from audit.record import record
from gateway.models import GatewayProcess

DEAD_AFTER = timedelta(seconds=10)


def recover() -> int:
    """Declares silent processes dead and closes their open calls; returns how many. Safe to run anywhere, twice."""
    silent = GatewayProcess.objects.filter(Q(ended_at=None, beat_at__lt=Now() - DEAD_AFTER))
    return sum(_bury(process) for process in silent)


def close_open_calls(process: GatewayProcess) -> int:
    """Closes the open intents of a process that has ended."""
    return sum(_close(intent) for intent in _open_intents(process))


def _bury(process: GatewayProcess) -> int:
    still_silent = GatewayProcess.objects.filter(id=process.id, ended_at=None, beat_at=process.beat_at)
    if not still_silent.update(ended_at=Now()):
        return 0
    return close_open_calls(process)


def _open_intents(process: GatewayProcess) -> Iterator[EventRow]:
    outcome = EventRow.objects.filter(call_id=OuterRef("call_id"), kind="call.outcome")
    since = process.oldest_in_flight or first_id_at(process.started_at)
    intents = EventRow.objects.filter(kind="call.intent", process_id=process.id, id__gte=since)
    return intents.filter(~Exists(outcome)).iterator()


def first_id_at(at: datetime) -> UUID:
    """The smallest time-ordered id of that moment, less a second for clocks that differ."""
    milliseconds = int((at - timedelta(seconds=1)).timestamp() * 1000)
    return UUID(int=milliseconds << 80)


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
        decided_epoch=intent.epoch,
        details={"code": "process_died"},
    )
    try:
        with transaction.atomic():
            record(event)
    except IntegrityError:
        return 0
    return 1
