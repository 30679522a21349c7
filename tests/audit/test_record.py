"""Writing evidence through both doors."""

import hmac
from contextlib import suppress

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from audit.event import AuditEvent, uuid7
from audit.models import EventRow, Payload, Pending
from audit.record import (
    COLUMNS,
    MAX_COLUMN_CHARS,
    PayloadRow,
    SealedPayload,
    as_column,
    commit_to,
    commitment,
    encode,
    insert_many,
    record,
)
from tests.audit.writing import NOON, event

pytestmark = pytest.mark.database


@pytest.mark.django_db
def test_an_event_its_payload_and_its_place_in_the_queue_are_written_together() -> None:
    told = event()
    record(told, payload=SealedPayload("data-key-1", b"\x00sealed"))
    row = EventRow.objects.get()
    assert (row.id, row.kind, row.at, row.agent) == (told.id, told.kind, told.at, "triage-bot")
    assert (row.epoch, row.outcome, bytes(row.header)) == (0, "", told.header())
    assert Pending.objects.get().event_id == told.id
    assert bytes(Payload.objects.get(event_id=told.id).sealed) == b"\x00sealed"


@pytest.mark.django_db
def test_evidence_goes_with_its_transaction() -> None:
    with suppress(RuntimeError), transaction.atomic():
        record(event())
        raise RuntimeError
    assert not EventRow.objects.exists()
    assert not Pending.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["call.intent", "call.outcome"])
def test_a_call_has_one_intent_and_one_outcome_ever(kind: str) -> None:
    call_id = uuid7()
    record(event(kind, call_id=call_id))
    with pytest.raises(IntegrityError), transaction.atomic():
        record(event(kind, call_id=call_id))
    record(event("call.withheld", call_id=call_id))


@pytest.mark.django_db
def test_events_without_a_call_may_repeat() -> None:
    record(event())
    record(event())
    assert EventRow.objects.count() == 2


@pytest.mark.django_db
def test_what_an_agent_calls_itself_cannot_break_the_columns() -> None:
    hostile = "\0" * 3 + "x" * 100_000
    record(event(tool=hostile))
    row = EventRow.objects.get()
    assert row.tool == as_column(hostile)
    assert len(row.tool) == MAX_COLUMN_CHARS


@pytest.mark.django_db
def test_the_columns_are_those_of_the_table() -> None:
    stored = {field.column for field in EventRow._meta.concrete_fields}
    assert stored == {*COLUMNS, "epoch"}


@pytest.mark.django_db
def test_a_group_is_written_as_single_events_are() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL groups go through the gateway's function")
    call_id = uuid7()
    events = [
        event("call.intent", call_id=call_id),
        AuditEvent(kind="tools.listed", at=NOON.replace(microsecond=0), actor="", process_id=uuid7(), decided_epoch=6),
    ]
    payloads = [PayloadRow(events[0].id, "data-key-1", b"sealed")]
    with connection.cursor() as cursor:
        insert_many(cursor.connection.cursor(), [encode(told) for told in events], epoch=7, payloads=payloads)
    for told in events:
        row = EventRow.objects.get(id=told.id)
        assert {name: getattr(row, name) for name in COLUMNS} == encode(told)._asdict()
        assert row.epoch == 7
    assert Payload.objects.get().event_id == events[0].id
    assert list(Pending.objects.order_by("id").values_list("event_id", flat=True)) == [told.id for told in events]


@pytest.mark.django_db
def test_a_group_with_a_repeated_intent_is_refused() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL groups go through the gateway's function")
    rows = [encode(event("call.intent", call_id=call_id)) for call_id in [uuid7()] * 2]
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        insert_many(cursor, rows, epoch=7)
    assert not EventRow.objects.exists()


@given(st.binary())
def test_a_commitment_opens_with_its_blinding_only(plaintext: bytes) -> None:
    committed, blinding = commit_to(plaintext)
    assert len(blinding) == 32
    assert committed == commitment(plaintext, blinding) == hmac.digest(blinding, plaintext, "sha256")
    assert committed != commit_to(plaintext)[0]


@given(st.text())
def test_a_column_text_is_short_and_holds_no_nul(text: str) -> None:
    column = as_column(text)
    assert "\0" not in column
    assert len(column) <= MAX_COLUMN_CHARS
    assert as_column(column) == column
