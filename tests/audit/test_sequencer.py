"""The log grows without gaps, is signed in time, and is continued only from what was signed."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.utils import timezone

from audit import sequencer
from audit.checkpoint import Signer
from audit.event import leaf_entry
from audit.merkle import leaf_hash, root_of
from audit.models import Checkpoint, EventRow, Leaf, Pending
from audit.record import record
from audit.sequencer import HEARTBEAT_EVERY, LogDamaged, Sequencer
from tests.audit.writing import NOON, event, execute, lower_guards, seal

pytestmark = [pytest.mark.database, pytest.mark.django_db]

SECOND = timedelta(seconds=1)


def record_events(count: int) -> list[object]:
    events = [event() for _ in range(count)]
    for told in events:
        record(told)
    return [told.id for told in events]


def leaf_events() -> list[object]:
    return list(Leaf.objects.order_by("index").values_list("event_id", flat=True))


def is_whole() -> bool:
    """Gapless indexes, right hashes, and the last checkpoint under all of them."""
    entries = {row.id: leaf_entry(row.epoch, bytes(row.header)) for row in EventRow.objects.all()}
    leaves = list(Leaf.objects.order_by("index"))
    hashes = [leaf_hash(entries[leaf.event_id]) for leaf in leaves]
    last = Checkpoint.objects.latest("size")
    return (
        [leaf.index for leaf in leaves] == list(range(len(leaves)))
        and [bytes(leaf.hash) for leaf in leaves] == hashes
        and (last.size, bytes(last.root)) == (len(leaves), root_of(hashes))
    )


def test_events_become_leaves_in_the_order_of_the_queue(signer: Signer) -> None:
    ids = record_events(5)
    assert seal(signer) == 6
    assert leaf_events()[:5] == ids
    assert not Pending.objects.exists()
    assert is_whole()


def test_a_long_queue_is_taken_in_batches(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequencer, "BATCHES", dict.fromkeys(sequencer.BATCHES, 4))
    ids = record_events(9)
    first = Sequencer(signer)
    assert [first.advance(NOON) for _ in range(4)] == [4, 4, 2, 0]
    assert leaf_events()[:9] == ids


def test_the_log_begins_with_a_heartbeat_that_names_the_key(signer: Signer) -> None:
    assert seal(signer) == 1
    heartbeat = EventRow.objects.get()
    assert heartbeat.kind == "audit.heartbeat"
    assert str(signer.verifier).encode() in bytes(heartbeat.header)
    assert is_whole()


def test_a_checkpoint_opens_with_the_key_and_states_the_log(signer: Signer) -> None:
    record_events(3)
    seal(signer)
    last = Checkpoint.objects.get()
    head = signer.verifier.open(last.note)
    assert (head.origin, head.size, head.root) == (signer.name, last.size, bytes(last.root))


def test_it_signs_at_most_once_a_second_and_never_forgets_to(signer: Signer) -> None:
    running = Sequencer(signer)
    running.advance(NOON)
    record_events(2)
    running.advance(NOON + SECOND / 2)
    assert Checkpoint.objects.count() == 1
    assert running.has_work(NOON + SECOND)
    running.advance(NOON + SECOND)
    assert Checkpoint.objects.count() == 2
    assert is_whole()
    assert not running.has_work(NOON + 2 * SECOND)


def test_silence_is_signed_each_hour(signer: Signer) -> None:
    running = Sequencer(signer)
    running.advance(NOON)
    assert not running.has_work(NOON + HEARTBEAT_EVERY - SECOND)
    assert running.has_work(NOON + HEARTBEAT_EVERY)
    assert running.advance(NOON + HEARTBEAT_EVERY) == 1
    assert EventRow.objects.filter(kind="audit.heartbeat").count() == Checkpoint.objects.count() == 2


def test_a_clock_set_back_does_not_silence_it(signer: Signer) -> None:
    seal(signer)
    record_events(1)
    Sequencer(signer).advance(NOON - timedelta(days=1))
    assert is_whole()


def test_a_new_sequencer_goes_on_where_the_last_one_stopped(signer: Signer) -> None:
    for count in (3, 4, 5):
        record_events(count)
        seal(signer)
    assert is_whole()


def test_leaves_after_the_last_checkpoint_are_caught_up(signer: Signer) -> None:
    dying = Sequencer(signer)
    dying.advance(NOON)
    record_events(3)
    dying.advance(NOON)
    record_events(2)
    assert seal(signer, now=NOON + SECOND) == 2
    assert is_whole()


def test_two_that_take_turns_make_one_log(signer: Signer) -> None:
    pair = Sequencer(signer), Sequencer(signer)
    for turn in range(7):
        record_events(turn)
        pair[turn % 2].advance(NOON + turn * SECOND)
    assert is_whole()


@pytest.mark.parametrize(
    ("table", "damage", "message"),
    [
        (
            "audit_checkpoint",
            "UPDATE audit_checkpoint SET root = hash, frontier = hash FROM audit_leaf",
            "not the one",
        ),
        (
            "audit_checkpoint",
            "UPDATE audit_checkpoint SET note = replace(note, 'gw.', 'wg.')",
            "cannot be continued",
        ),
        ("audit_checkpoint", "UPDATE audit_checkpoint SET frontier = substr(root, 2)", "cannot be continued"),
        ("audit_leaf", 'DELETE FROM audit_leaf WHERE "index" = 3', "shrank"),
        ("audit_leaf", 'UPDATE audit_leaf SET "index" = 9 WHERE "index" = 3', "leaf 4 is missing"),
    ],
)
def test_a_log_that_was_not_signed_so_is_not_continued(signer: Signer, table: str, damage: str, message: str) -> None:
    record_events(3)
    seal(signer)
    lower_guards(table)
    execute(damage)
    record_events(1)
    with pytest.raises(LogDamaged, match=message):
        seal(signer)
    assert Checkpoint.objects.count() == 1


def test_a_log_cut_back_under_a_running_sequencer_is_noticed(signer: Signer) -> None:
    running = Sequencer(signer)
    record_events(3)
    running.advance(NOON)
    lower_guards("audit_leaf")
    lower_guards("audit_checkpoint")
    execute("DELETE FROM audit_leaf")
    execute("DELETE FROM audit_checkpoint")
    record_events(1)
    with pytest.raises(LogDamaged, match="shrank"):
        running.advance(NOON + SECOND)


def test_another_key_does_not_continue_the_log(signer: Signer) -> None:
    seal(signer)
    other = Signer(signer.name, Ed25519PrivateKey.generate())
    with pytest.raises(LogDamaged, match="this key"):
        seal(other, now=timezone.now())


def test_an_event_deleted_from_the_queue_stops_nothing(signer: Signer) -> None:
    gone, kept = record_events(2)
    lower_guards("audit_event")
    EventRow.objects.filter(id=gone).delete()
    seal(signer)
    assert leaf_events()[0] == kept
    assert list(Pending.objects.values_list("event_id", flat=True)) == [gone]


def test_events_deleted_from_the_queue_take_nobodys_place_in_a_batch(
    signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal(signer)
    monkeypatch.setattr(sequencer, "BATCHES", dict.fromkeys(sequencer.BATCHES, 2))
    *gone, kept = record_events(3)
    lower_guards("audit_event")
    EventRow.objects.filter(id__in=gone).delete()
    seal(signer)
    assert leaf_events()[-1] == kept


def test_a_row_that_is_committed_after_younger_ones_is_placed_by_the_next_signature(signer: Signer) -> None:
    running = Sequencer(signer)
    running.advance(NOON)
    record_events(1)
    lower_guards("audit_pending")
    Pending.objects.update(id=1_000_000)
    running.advance(NOON)
    late = record_events(1)
    assert running.advance(NOON + SECOND / 2) == 0
    assert running.has_work(NOON + SECOND)
    running.advance(NOON + SECOND)
    assert leaf_events()[-1:] == late
    assert is_whole()
