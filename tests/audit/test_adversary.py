"""Somebody with every right on the database, triggers off, some with the signing key as well: what `verify_audit` and
`auditverify` say of each of her acts when an older checkpoint was kept elsewhere. Both name the first bad leaf.
"""

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from audit import auditverify
from audit.anchors.base import Kept
from audit.bundle import export_log
from audit.checkpoint import Signer
from audit.event import leaf_entry
from audit.merkle import Frontier, leaf_hash
from audit.models import Checkpoint, EventRow, Leaf, Pending
from audit.record import record
from audit.sequencer import Sequencer
from audit.verify import verify
from tests.audit.writing import NOON, event, execute, lower_guards, record_call

pytestmark = pytest.mark.django_db
TABLES = ("audit_event", "audit_payload", "audit_pending", "audit_leaf", "audit_checkpoint")


class Log(NamedTuple):
    """Leaves 0..12 under checkpoints 5, 9 and 13; those of 5 and 13 are kept elsewhere."""

    signer: Signer
    anchors: tuple[Kept, ...]


@pytest.fixture
def log(signer: Signer) -> Log:
    running = Sequencer(signer)
    for minute in range(3):
        for _ in range(2):
            record_call()
        running.advance(NOON + timedelta(minutes=minute), sign_every=timedelta(0))
    for table in TABLES:
        lower_guards(table)
    notes = Checkpoint.objects.filter(size__in=(5, 13)).order_by("size").values_list("size", "note")
    return Log(signer, tuple(Kept(f"kept-{size}.txt", note) for size, note in notes))


def event_of(index: int) -> EventRow:
    return EventRow.objects.get(pk=Leaf.objects.get(index=index).event_id)


def edit(index: int) -> None:
    row = event_of(index)
    EventRow.objects.filter(pk=row.pk).update(header=bytes(row.header).replace(b"triage-bot", b"nobody-bot"))


def fit_leaf(index: int) -> None:
    row = event_of(index)
    Leaf.objects.filter(index=index).update(hash=leaf_hash(leaf_entry(row.epoch, bytes(row.header))))


def move(first: int, by: int) -> None:
    """All leaves from there on, in two steps: an index is unique at every moment."""
    execute('UPDATE audit_leaf SET "index" = "index" + 1000 WHERE "index" >= %s', first)
    execute('UPDATE audit_leaf SET "index" = "index" - %s WHERE "index" >= 1000', 1000 - by)


def delete(index: int) -> None:
    EventRow.objects.filter(pk=Leaf.objects.get(index=index).event_id).delete()
    Leaf.objects.filter(index=index).delete()


def swap(one: int, other: int) -> None:
    for start, end in ((one, 500), (other, one), (500, other)):
        Leaf.objects.filter(index=start).update(index=end)


def insert(index: int) -> None:
    record(event(tool="inserted"))
    waiting = Pending.objects.get()
    row = EventRow.objects.get(pk=waiting.event_id)
    move(index, 1)
    Leaf.objects.create(index=index, event_id=row.pk, hash=leaf_hash(leaf_entry(row.epoch, bytes(row.header))))
    waiting.delete()


def truncate(size: int) -> None:
    for leaf in Leaf.objects.filter(index__gte=size):
        EventRow.objects.filter(pk=leaf.event_id).delete()
    Leaf.objects.filter(index__gte=size).delete()
    Checkpoint.objects.filter(size__gt=size).delete()


def sign_anew(signer: Signer) -> None:
    """With the stolen key: every checkpoint fits what the leaves are now."""
    hashes = [bytes(row) for row in Leaf.objects.order_by("index").values_list("hash", flat=True)]
    sizes = [size for size in Checkpoint.objects.values_list("size", flat=True) if size <= len(hashes)]
    Checkpoint.objects.all().delete()
    for size in {*sizes, len(hashes)}:
        tree = Frontier().extend(hashes[:size])
        note = signer.sign(size=size, root=tree.root())
        Checkpoint.objects.create(size=size, root=tree.root(), frontier=tree.to_bytes(), at=NOON, note=note)


def deleted_and_closed_up(signer: Signer) -> None:
    delete(6)
    move(7, -1)


def edited_to_fit(signer: Signer) -> None:
    edit(6)
    names = {"agent": "nobody-bot", "actor": "agent:nobody-bot"}
    EventRow.objects.filter(pk=event_of(6).pk).update(**names)
    fit_leaf(6)


def event_deleted(signer: Signer) -> None:
    EventRow.objects.filter(pk=event_of(6).pk).delete()


def edited_with_the_key(signer: Signer) -> None:
    edited_to_fit(signer)
    sign_anew(signer)


def deleted_with_the_key(signer: Signer) -> None:
    deleted_and_closed_up(signer)
    sign_anew(signer)


def swapped_with_the_key(signer: Signer) -> None:
    swap(6, 7)
    sign_anew(signer)


def inserted_with_the_key(signer: Signer) -> None:
    insert(6)
    sign_anew(signer)


def older_backup_that_went_on(signer: Signer) -> None:
    """What came after the backup is gone, and as much of other things was recorded and signed since."""
    truncate(9)
    for _ in range(3):
        record_call()
    Sequencer(signer).advance(NOON + timedelta(minutes=9), sign_every=timedelta(0))


Act = Callable[[Signer], None]

ACTS: dict[str, tuple[Act, int]] = {
    "an event edited": (lambda _: edit(6), 6),
    "an event and its leaf edited": (edited_to_fit, 5),
    "an event deleted": (event_deleted, 6),
    "an event and its leaf deleted": (lambda _: delete(6), 6),
    "deleted, and the rest moved up": (deleted_and_closed_up, 5),
    "two swapped": (lambda _: swap(6, 7), 5),
    "one inserted": (lambda _: insert(6), 5),
    "cut back to an older checkpoint": (lambda _: truncate(9), 9),
    "an older backup that went on": (older_backup_that_went_on, 5),
    "edited, signed anew": (edited_with_the_key, 5),
    "deleted, signed anew": (deleted_with_the_key, 12),
    "swapped, signed anew": (swapped_with_the_key, 5),
    "inserted, signed anew": (inserted_with_the_key, 5),
}
"""Act -> the first leaf that may be bad. Where hashes fit, a root only tells of a stretch: it begins where a checkpoint
of the true key, or with the stolen key an anchor, still agrees. A log too short for its anchor surely lacks a leaf."""


@pytest.mark.parametrize("name", ACTS)
def test_it_is_found_against_an_anchor_and_the_first_bad_leaf_named(log: Log, name: str, tmp_path: Path) -> None:
    do, first_bad = ACTS[name]
    do(log.signer)
    report = verify(log.signer.verifier, log.anchors)
    assert (report.is_sound, report.first_bad_leaf) == (False, first_bad), report.problems
    code, told = audited(log, tmp_path)
    assert code == 1
    assert f"first bad leaf {first_bad};" in told, told


def audited(log: Log, folder: Path) -> tuple[int, str]:
    """What the auditor's own file says of an export, beside the anchors that she kept."""
    words = [sys.executable, "-I", "-S", auditverify.__file__, "bundle", str(folder / "export")]
    export_log(folder / "export", verifier=log.signer.verifier, at=NOON)
    for anchor in log.anchors:
        (folder / anchor.where).write_text(anchor.note)
        words += ["--anchor", str(folder / anchor.where)]
    words += ["--key", str(log.signer.verifier)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", [name for name in ACTS if "signed anew" in name or "older" in name])
def test_without_an_anchor_it_says_that_it_cannot_know(log: Log, name: str) -> None:
    ACTS[name][0](log.signer)
    report = verify(log.signer.verifier)
    assert report.is_sound, report.problems
    assert "No anchor outside this installation was compared" in report.not_checked[0]


def test_an_untouched_log_meets_its_anchors(log: Log, tmp_path: Path) -> None:
    report = verify(log.signer.verifier, log.anchors)
    assert report.figure == "sound: 13 events, 13 leaves, checkpoint 13, 2 anchors met"
    assert not any("anchor" in gap for gap in report.not_checked)
    assert audited(log, tmp_path)[0] == 0
