"""Which questions wait for one person. Bounded: whoever has more than a few hundred reads none of them."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice

from django.db.models import Prefetch, QuerySet

from governance.approval_rows import approval_digest, asks_of, subject_of
from governance.approvers import human_of, may_decide
from governance.models import ApprovalDecision, ApprovalRequest, User
from governance.snapshot import Snapshot

LOOKED_AT = 500
SHOWN = 100
BUSY_DECISIONS = 20
BUSY_WITHIN = timedelta(minutes=10)


def pending(now: datetime) -> QuerySet[ApprovalRequest]:
    """Those that end first come first. Their arguments, up to a megabyte each, are read of what is shown only: open
    pages ask every second."""
    rows = ApprovalRequest.objects.filter(state=ApprovalRequest.State.PENDING, expires_at__gt=now)
    rows = rows.defer("arguments", "asked_arguments", "answer")
    return rows.order_by("expires_at", "number").prefetch_related(Prefetch("decisions"))


def waiting_for(
    person: User, snapshot: Snapshot, now: datetime, *, rows: Iterable[ApprovalRequest] | None = None
) -> list[ApprovalRequest]:
    """What she may decide and has not."""
    found = pending(now)[:LOOKED_AT] if rows is None else rows
    return list(islice((row for row in found if _waits_for(person.pk.hex, row, snapshot, now)), SHOWN))


def _waits_for(person_id: str, row: ApprovalRequest, snapshot: Snapshot, now: datetime) -> bool:
    if not may_decide(asks_of(row), subject_of(row), person_id, snapshot, now):
        return False
    human, shown = human_of(person_id, snapshot), approval_digest(row)
    return not any(each.human_id.hex == human and bytes(each.digest) == shown for each in row.decisions.all())


def decides_much(person: User, now: datetime) -> bool:
    """Whoever decides so much in so short a time may have stopped reading."""
    lately = ApprovalDecision.objects.filter(person_id=person.pk, at__gte=now - BUSY_WITHIN)
    return len(lately.values_list("pk")[:BUSY_DECISIONS]) == BUSY_DECISIONS
