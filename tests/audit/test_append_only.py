"""The database refuses to change evidence, whoever asks and however."""

import pytest
from django.db import IntegrityError, connection, transaction

from audit.checkpoint import Signer
from audit.models import Checkpoint, EventRow, Leaf, Payload, Pending
from audit.record import SealedPayload, record
from tests.audit.writing import event, execute, seal

pytestmark = [pytest.mark.database, pytest.mark.django_db]

TABLES = {
    "audit_event": "kind = 'call.allowed'",
    "audit_payload": "key_id = ''",
    "audit_leaf": "hash = hash",
    "audit_checkpoint": "note = ''",
}


@pytest.fixture(autouse=True)
def _filled(signer: Signer) -> None:
    record(event(), payload=SealedPayload("data-key-1", b"sealed"))
    seal(signer)
    record(event())


def refuses(sql: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        execute(sql)


@pytest.mark.parametrize(("table", "change"), TABLES.items())
def test_update_and_delete_are_refused(table: str, change: str) -> None:
    refuses(f"UPDATE {table} SET {change}")
    refuses(f"DELETE FROM {table}")


@pytest.mark.parametrize("model", [EventRow, Payload, Leaf, Checkpoint])
def test_the_orm_is_refused_as_well(model: type[EventRow | Payload | Leaf | Checkpoint]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        model.objects.all().delete()
    assert model.objects.exists()


WAYS_ROUND = {
    "postgresql": (
        "TRUNCATE {table}",
        "SET LOCAL session_replication_role = replica; TRUNCATE {table}",
        "SET LOCAL session_replication_role = replica; DELETE FROM {table}",
    ),
    "sqlite": ("INSERT OR REPLACE INTO {table} SELECT * FROM {table}",),
}


@pytest.mark.parametrize("table", [*TABLES, "audit_pending"])
def test_what_slips_past_ordinary_triggers_is_refused(table: str) -> None:
    for way in WAYS_ROUND[connection.vendor]:
        refuses(way.format(table=table))


def test_an_upsert_is_no_way_round() -> None:
    refuses(
        "INSERT INTO audit_payload SELECT * FROM audit_payload WHERE true"
        " ON CONFLICT (event_id) DO UPDATE SET key_id = ''"
    )


def test_the_queue_keeps_what_has_no_leaf() -> None:
    refuses("DELETE FROM audit_pending")
    refuses("UPDATE audit_pending SET id = id + 1")
    assert Pending.objects.count() == 1


def test_the_sequencer_may_empty_the_queue(signer: Signer) -> None:
    assert seal(signer) == 1
    assert not Pending.objects.exists()
