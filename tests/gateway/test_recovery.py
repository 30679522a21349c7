"""What a gateway process left open is closed by another one, however late that comes."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from audit.event import AuditEvent, uuid7
from audit.models import EventRow
from audit.record import record
from gateway.models import GatewayProcess
from gateway.recovery import recover

pytestmark = [pytest.mark.django_db, pytest.mark.database]

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
JUST_NOW = timedelta(0)


def a_process(*, beat: timedelta, ended: timedelta | None = None) -> GatewayProcess:
    """Which said that nothing was open when its heart last beat, so long ago."""
    now = datetime.now(UTC)
    beat_at = now - beat
    return GatewayProcess.objects.create(
        host="here",
        pid=1,
        started_at=beat_at - HOUR,
        beat_at=beat_at,
        ended_at=now - ended if ended is not None else None,
        oldest_in_flight=uuid7(int(beat_at.timestamp() * 1000)),
    )


def an_intent(process: GatewayProcess, *, ago: timedelta) -> UUID:
    at = datetime.now(UTC) - ago
    call_id, event_id = uuid7(), uuid7(int(at.timestamp() * 1000))
    record(AuditEvent("call.intent", at, "agent:x", id=event_id, agent="x", call_id=call_id, process_id=process.id))
    return call_id


def outcome_of(call_id: UUID) -> str:
    return EventRow.objects.filter(kind="call.outcome", call_id=call_id).values_list("outcome", flat=True).first() or ""


def test_of_a_process_that_is_silent() -> None:
    process = a_process(beat=HOUR)
    call = an_intent(process, ago=HOUR - SECOND)
    assert (recover(), outcome_of(call)) == (1, "unknown")
    process.refresh_from_db()
    assert process.ended_at is not None
    assert recover() == 0


def test_not_of_one_that_lives() -> None:
    call = an_intent(a_process(beat=-HOUR), ago=JUST_NOW)
    assert (recover(), outcome_of(call)) == (0, "")


def test_of_one_that_woke_up_while_it_was_declared_dead_however_often_was_looked_before() -> None:
    process = a_process(beat=15 * SECOND, ended=-HOUR)
    assert (recover(), recover()) == (0, 0)
    call = an_intent(process, ago=JUST_NOW)
    assert (recover(), outcome_of(call)) == (1, "unknown")


def test_also_when_nobody_was_there_to_look_for_hours() -> None:
    process = a_process(beat=5 * HOUR, ended=5 * HOUR - 15 * SECOND)
    call = an_intent(process, ago=5 * HOUR - 16 * SECOND)
    assert (recover(), outcome_of(call)) == (1, "unknown")


def test_nobody_looks_for_ever() -> None:
    process = a_process(beat=HOUR, ended=HOUR)
    assert recover() == 0
    process.refresh_from_db()
    assert process.oldest_in_flight is None
    an_intent(process, ago=HOUR)
    assert recover() == 0
