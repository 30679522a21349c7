"""An adversary with all rights on the database, and what `verify` says of it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection

from audit import pages
from audit.checkpoint import Signer
from audit.event import leaf_entry, uuid7
from audit.merkle import leaf_hash
from audit.models import Checkpoint, EventRow, Leaf
from audit.record import encode, record
from audit.sequencer import Sequencer
from audit.verify import MAX_PROBLEMS, Report, verify
from tests.audit.writing import NOON, event, execute, lower_guards, record_call, seal

pytestmark = [pytest.mark.database, pytest.mark.django_db]

FORGED_NOTE = """\
gw.corp.example/audit
9
AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=

— gw.corp.example/audit AAAAAAAA
"""
TABLES = ("audit_event", "audit_payload", "audit_pending", "audit_leaf", "audit_checkpoint")


@pytest.fixture
def log(signer: Signer) -> Signer:
    """Leaves 0..12 under checkpoints 5, 9 and 13, guards lowered."""
    running = Sequencer(signer)
    for minute in range(3):
        for _ in range(2):
            record_call()
        running.advance(NOON + timedelta(minutes=minute))
    for table in TABLES:
        lower_guards(table)
    return signer


def event_at(index: int) -> str:
    return f'(SELECT event_id FROM audit_leaf WHERE "index" = {index})'


def problems_after(log: Signer, *damage: str) -> Report:
    for sql in damage:
        execute(sql)
    report = verify(log.verifier)
    assert not report.is_sound
    assert report.problem_count >= len(report.problems) > 0
    return report


def test_an_untouched_log_is_sound(log: Signer) -> None:
    report = verify(log.verifier)
    assert report.problems == ()
    assert report.figure == "sound: 13 events, 13 leaves, checkpoint 13"
    assert any("anchor" in gap for gap in report.not_checked)


def test_an_empty_log_is_sound() -> None:
    assert verify(None).figure == "sound: 0 events, 0 leaves, checkpoint 0"


def test_waiting_events_and_open_intents_are_sound_and_counted(log: Signer) -> None:
    record(event("call.intent", call_id=uuid7()))
    report = verify(log.verifier)
    assert (report.is_sound, report.pending, report.open_intents) == (True, 1, 1)
    assert report.figure == "sound: 14 events, 13 leaves, checkpoint 13"


@pytest.mark.parametrize(
    "change",
    [
        "kind = 'call.allowed'",
        "at = '2026-11-20 00:00:00'",
        "actor = ''",
        "agent = 'other-bot'",
        "person = 'ana@example.com'",
        "connector = 'x'",
        "tool = tool || ' '",
        "decision = 'permit'",
        "outcome = 'ok'",
        "decided_epoch = 1",
        "epoch = 1",
        "call_id = NULL",
        "process_id = id",
        "header = (SELECT header FROM audit_event WHERE kind = 'audit.heartbeat')",
    ],
)
def test_an_edited_event_is_named(log: Signer, change: str) -> None:
    report = problems_after(log, f"UPDATE audit_event SET {change} WHERE id = {event_at(6)}")
    assert report.first_bad_leaf == 6


def test_a_deleted_event_is_named(log: Signer) -> None:
    report = problems_after(log, f"DELETE FROM audit_event WHERE id = {event_at(6)}")
    assert report.first_bad_leaf == 6
    assert "NOT SOUND" in report.figure


def test_a_deleted_leaf_is_named(log: Signer) -> None:
    report = problems_after(log, 'DELETE FROM audit_leaf WHERE "index" = 6')
    assert report.first_bad_leaf == 6


def test_a_call_deleted_with_its_leaves_is_named(log: Signer) -> None:
    report = problems_after(
        log,
        f"DELETE FROM audit_event WHERE id IN ({event_at(6)}, {event_at(7)})",
        'DELETE FROM audit_leaf WHERE "index" IN (6, 7)',
    )
    assert report.first_bad_leaf == 6


def test_leaves_moved_together_to_hide_a_deletion_are_found(log: Signer) -> None:
    report = problems_after(
        log,
        f"DELETE FROM audit_event WHERE id = {event_at(6)}",
        'DELETE FROM audit_leaf WHERE "index" = 6',
        'UPDATE audit_leaf SET "index" = "index" + 1000 WHERE "index" > 6',
        'UPDATE audit_leaf SET "index" = "index" - 1001 WHERE "index" > 1000',
    )
    assert report.first_bad_leaf == 5


def test_swapped_leaves_are_found_between_the_checkpoints_around_them(log: Signer) -> None:
    report = problems_after(
        log,
        'UPDATE audit_leaf SET "index" = 100 WHERE "index" = 6',
        'UPDATE audit_leaf SET "index" = 6 WHERE "index" = 7',
        'UPDATE audit_leaf SET "index" = 7 WHERE "index" = 100',
    )
    assert report.first_bad_leaf == 5
    assert report.checkpoint == 5
    assert "before 9" in str(report.problems[0])


def test_an_event_rewritten_with_its_leaf_is_found(log: Signer) -> None:
    row = EventRow.objects.get(id=Leaf.objects.get(index=6).event_id)
    forged = replace(event(row.kind, call_id=row.call_id, tool="harmless"), id=row.id)
    EventRow.objects.filter(id=row.id).update(**encode(forged)._asdict())
    Leaf.objects.filter(index=6).update(hash=leaf_hash(leaf_entry(0, forged.header())))
    report = problems_after(log)
    assert (report.problem_count, report.first_bad_leaf, report.checkpoint) == (1, 5, 5)


def test_an_inserted_leaf_is_found(log: Signer) -> None:
    record(event())
    report = problems_after(
        log,
        'UPDATE audit_leaf SET "index" = "index" + 1000 WHERE "index" >= 6',
        'UPDATE audit_leaf SET "index" = "index" - 999 WHERE "index" > 1000',
        'INSERT INTO audit_leaf ("index", event_id, hash) SELECT 6, event_id,'
        " (SELECT hash FROM audit_leaf LIMIT 1) FROM audit_pending",
        "DELETE FROM audit_pending",
    )
    assert report.first_bad_leaf == 5


def test_a_log_cut_at_its_end_is_found_by_its_checkpoint(log: Signer) -> None:
    report = problems_after(
        log, f"DELETE FROM audit_event WHERE id = {event_at(12)}", 'DELETE FROM audit_leaf WHERE "index" = 12'
    )
    assert report.first_bad_leaf == 12


def test_a_leaf_far_away_does_not_keep_it_busy(log: Signer) -> None:
    execute('UPDATE audit_leaf SET "index" = 9000000000000000000 WHERE "index" = 12')
    assert verify(log.verifier).first_bad_leaf == 12


def drop_constraints(table: str) -> None:
    execute(f"ALTER TABLE {table} RENAME TO constrained")
    execute(f"CREATE TABLE {table} AS SELECT * FROM constrained")


@pytest.mark.parametrize("page", [900, 7])
def test_an_index_used_twice_is_found_even_between_pages(
    log: Signer, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE", page)
    drop_constraints("audit_leaf")
    record(event())
    problems_after(
        log,
        'INSERT INTO audit_leaf ("index", event_id, hash)'
        ' SELECT leaf."index", waiting.event_id, leaf.hash FROM audit_leaf leaf, audit_pending waiting'
        ' WHERE leaf."index" = 6',
        "DELETE FROM audit_pending",
    )


def test_an_event_replayed_at_the_end_is_named(log: Signer) -> None:
    drop_constraints("audit_leaf")
    replayed = Leaf.objects.get(index=6)
    Leaf.objects.create(index=13, event_id=replayed.event_id, hash=replayed.hash)
    assert str(replayed.event_id) in str(problems_after(log).problems[0])


def test_a_second_outcome_of_a_call_is_named(log: Signer) -> None:
    execute("DROP INDEX audit_event_once_per_call")
    call_id = record_call()
    record(event("call.outcome", call_id=call_id))
    assert str(call_id) in str(problems_after(log).problems[0])


def test_an_event_without_a_place_is_named(log: Signer) -> None:
    stray = event()
    record(stray)
    assert str(stray.id) in str(problems_after(log, "DELETE FROM audit_pending").problems[0])


def test_a_waiting_event_that_is_gone_is_named(log: Signer) -> None:
    waiting = event()
    record(waiting)
    report = problems_after(log, "DELETE FROM audit_event WHERE id = (SELECT event_id FROM audit_pending)")
    assert str(waiting.id) in str(report.problems[0])


def test_a_waiting_event_that_was_edited_is_named(log: Signer) -> None:
    waiting = event()
    record(waiting)
    report = problems_after(log, "UPDATE audit_event SET tool = 'x' WHERE id = (SELECT event_id FROM audit_pending)")
    assert str(waiting.id) in str(report.problems[0])


def test_an_event_that_waits_although_it_has_its_leaf_is_named(log: Signer) -> None:
    report = problems_after(log, f"INSERT INTO audit_pending (event_id) VALUES ({event_at(3)})")
    assert "although" in str(report.problems[0])


def test_an_outcome_without_its_intent_is_named(log: Signer) -> None:
    record(event("call.outcome", call_id=uuid7()))
    assert "without an intent" in str(problems_after(log).problems[0])


def test_a_checkpoint_of_another_key_is_no_checkpoint(log: Signer) -> None:
    other = Signer(log.name, Ed25519PrivateKey.generate())
    report = verify(other.verifier)
    assert report.problem_count == 3
    assert report.checkpoint == 0


def test_checkpoints_without_any_key_are_not_sound(log: Signer) -> None:
    assert not verify(None).is_sound


@pytest.mark.parametrize(
    "change",
    [{"root": bytes(32)}, {"frontier": bytes(64)}, {"frontier": b""}, {"note": FORGED_NOTE}, {"note": ""}],
)
def test_an_edited_checkpoint_is_named(log: Signer, change: dict[str, object]) -> None:
    Checkpoint.objects.filter(size=9).update(**change)
    report = problems_after(log)
    assert [str(problem).startswith("checkpoint 9") for problem in report.problems] == [True]
    assert report.checkpoint == 13


def test_a_checkpoint_moved_to_another_size_is_named(log: Signer) -> None:
    report = problems_after(log, "UPDATE audit_checkpoint SET size = 8 WHERE size = 9")
    assert str(report.problems[0]).startswith("checkpoint 8")


def test_a_rewritten_log_needs_the_key(log: Signer) -> None:
    """Everything consistent, only the signatures are another's."""
    execute("DELETE FROM audit_checkpoint")
    forger = Signer(log.name, Ed25519PrivateKey.generate())
    assert seal(forger) == 1
    assert not verify(log.verifier).is_sound
    assert verify(forger.verifier).is_sound


DAMAGE = {
    "sqlite": (
        "UPDATE audit_event SET {column} = x'ff00ff' WHERE id = {event}",
        "UPDATE audit_event SET {column} = 'torn' WHERE id = {event}",
        "UPDATE audit_event SET {column} = 9e99 WHERE id = {event}",
        "UPDATE audit_event SET {column} = '2026-99-99 00:00:00' WHERE id = {event}",
        "UPDATE audit_leaf SET event_id = 'torn' WHERE \"index\" = 6",
        "UPDATE audit_leaf SET hash = 'torn' WHERE \"index\" = 6",
        "UPDATE audit_leaf SET hash = CAST(x'ff' AS TEXT) WHERE \"index\" = 6",
    ),
    "postgresql": (
        "UPDATE audit_event SET at = 'infinity' WHERE id = {event}",
        "UPDATE audit_event SET at = '4000-01-01 BC' WHERE id = {event}",
        "UPDATE audit_event SET epoch = -1 WHERE id = {event}",
        "UPDATE audit_event SET header = '' WHERE id = {event}",
        "UPDATE audit_event SET header = '\\xff' WHERE id = {event}",
        "UPDATE audit_event SET header = '[]' WHERE id = {event}",
        "UPDATE audit_leaf SET hash = '' WHERE \"index\" = 6",
        'UPDATE audit_leaf SET event_id = gen_random_uuid() WHERE "index" = 6',
    ),
}


def test_torn_rows_are_named_and_never_a_traceback(log: Signer) -> None:
    columns = ("at", "kind", "call_id", "tool", "decided_epoch", "epoch", "header", "process_id")
    for template in DAMAGE[connection.vendor]:
        for column in columns if "{column}" in template else ("",):
            execute("SAVEPOINT torn")
            report = problems_after(log, template.format(column=column, event=event_at(6)))
            assert report.first_bad_leaf == 6, (template, column, report.problems)
            execute("ROLLBACK TO SAVEPOINT torn")


@pytest.mark.parametrize("column", ["size", "root", "note"])
def test_torn_checkpoints_are_never_a_traceback(log: Signer, column: str) -> None:
    torn = {"sqlite": "'torn'", "postgresql": {"size": "-9", "root": "''", "note": "''"}[column]}[connection.vendor]
    problems_after(log, f"UPDATE audit_checkpoint SET {column} = {torn} WHERE size = 9")


def test_torn_keys_are_never_a_traceback(log: Signer) -> None:
    damage = {
        "sqlite": ['UPDATE audit_leaf SET "index" = \'torn\' WHERE "index" = 6'],
        "postgresql": [
            "ALTER TABLE audit_leaf DROP CONSTRAINT audit_leaf_index_not_negative",
            'UPDATE audit_leaf SET "index" = -9 WHERE "index" = 6',
        ],
    }
    problems_after(log, *damage[connection.vendor])


def test_pages_change_nothing(log: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE", 4)
    assert verify(log.verifier).figure == "sound: 13 events, 13 leaves, checkpoint 13"
    assert problems_after(log, 'DELETE FROM audit_leaf WHERE "index" = 7').first_bad_leaf == 7


def test_many_problems_are_counted_and_the_first_hundred_shown(log: Signer) -> None:
    for _ in range(MAX_PROBLEMS + 5):
        record(event())
    report = problems_after(log, "DELETE FROM audit_pending")
    assert (len(report.problems), report.problem_count) == (MAX_PROBLEMS, MAX_PROBLEMS + 5)


def test_a_checkpoint_more_than_there_are_leaves_names_the_first_missing(log: Signer) -> None:
    report = problems_after(log, "DELETE FROM audit_event", "DELETE FROM audit_leaf")
    assert report.first_bad_leaf == 0
    assert Checkpoint.objects.exists()
