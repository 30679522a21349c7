"""Keeping the newest checkpoint where nobody here can change it, on a schedule, again until it is there.

What is kept follows from the log alone, so two workers, or one that dies half-way, keep the same thing twice at most.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.db.models import F

from audit.anchors.base import AnchorFailed, Receipt
from audit.models import AnchorReceipt, Checkpoint, Leaf
from gateway.actions import act
from gateway.anchoring.ways import authority_of, bucket_of
from governance.facts import Fact, Recorder
from governance.models import Anchor

BY: Final = "system:anchors"
FIRST_PAUSE: Final = timedelta(seconds=15)
LONGEST_PAUSE: Final = timedelta(minutes=15)
MOST_DOUBLINGS: Final = 6
SHOWN_OF_ERRORS: Final = 300


def keep_due(now: datetime) -> int:
    """Keeps the newest checkpoint at every anchor whose time has come; how many were tried."""
    newest = Checkpoint.objects.order_by("-size").first()
    if newest is None:
        return 0
    due = [anchor for anchor in Anchor.objects.all() if is_due(anchor, newest.size, now)]
    return sum(keep(anchor, newest, now=now) for anchor in due)


def is_due(anchor: Anchor, size: int, now: datetime) -> bool:
    """By its schedule, or because a person wants it, even of one that is switched off."""
    if anchor.wanted_at:
        return True
    if not anchor.is_enabled:
        return False
    if anchor.failures and anchor.tried_at:
        pause = min(FIRST_PAUSE * 2 ** min(anchor.failures - 1, MOST_DOUBLINGS), LONGEST_PAUSE)
        return bool(abs(now - anchor.tried_at) >= pause)
    if anchor.kept_at is None:
        return True
    is_late = abs(now - anchor.kept_at) >= timedelta(minutes=anchor.every_minutes)
    return bool((is_late and size != anchor.kept_size) or size - anchor.kept_size >= anchor.every_leaves)


def keep(anchor: Anchor, checkpoint: Checkpoint, *, now: datetime) -> bool:
    """One try; False if another worker is at it. No transaction is open while the other side takes its time."""
    mine = Anchor.objects.filter(pk=anchor.pk, tried_at=anchor.tried_at)
    if not mine.update(tried_at=now, wanted_at=None):
        return False
    try:
        kept = _kept(anchor, checkpoint, now)
    except AnchorFailed as failure:
        act(partial(_note_failure, anchor, str(failure)[:SHOWN_OF_ERRORS]), by=BY)
    else:
        act(partial(_note, anchor, checkpoint, kept), by=BY)
    return True


@dataclass(frozen=True, slots=True)
class Done:
    """`ahead`: the size of what is kept there beyond our log; 0 if nothing is."""

    receipt: Receipt
    ahead: int


def _kept(anchor: Anchor, checkpoint: Checkpoint, now: datetime) -> Done:
    if anchor.kind == Anchor.Kind.RFC3161:
        return Done(authority_of(anchor).stamp(checkpoint.note), 0)
    log = checkpoint.note.partition("\n")[0]
    receipt = bucket_of(anchor).keep(log=log, size=checkpoint.size, note=checkpoint.note, now=now)
    return Done(receipt, look_ahead(anchor, log))


def look_ahead(anchor: Anchor, log: str) -> int:
    """The smallest size kept there that this database has never got to; 0 if there is none. Raises AnchorFailed."""
    if anchor.kind != Anchor.Kind.S3:
        return 0
    last = Leaf.objects.order_by("-index").values_list("index", flat=True).first()
    here = 0 if last is None else last + 1
    beyond = next(bucket_of(anchor).versions(log, after=here), None)
    return beyond.size if beyond else 0


def _note(anchor: Anchor, checkpoint: Checkpoint, done: Done, /, record: Recorder, now: datetime) -> None:
    receipt = done.receipt
    AnchorReceipt.objects.get_or_create(
        anchor=anchor.name,
        size=checkpoint.size,
        defaults={"at": now, "note": checkpoint.note, "reference": receipt.reference, "proof": receipt.proof},
    )
    kept = {"kept_size": checkpoint.size, "kept_at": now, "ahead_size": done.ahead}
    Anchor.objects.filter(pk=anchor.pk).update(failures=0, error="", **kept)
    details = {"size": checkpoint.size, "reference": receipt.reference}
    record(Fact("checkpoint.anchored", f"anchor:{anchor.name}", details))


def _note_failure(anchor: Anchor, error: str, /, record: Recorder, now: datetime) -> None:
    """Evidence says that it began, not each try."""
    Anchor.objects.filter(pk=anchor.pk).update(failures=F("failures") + 1, error=error)
    if not anchor.failures:
        record(Fact("anchor.failed", f"anchor:{anchor.name}", {"error": error}))
