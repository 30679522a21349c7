"""The change log is read only by processes that are a moment behind; yesterday's is of no use."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Max
from django.db.models.functions import Now

from governance.models import Advance, Change, Epoch

KEEP = timedelta(days=1)
MOST_TOUCHED = 2_000


@dataclass(frozen=True, slots=True)
class Touched:
    """Whom changed rows touch: kind -> ids."""

    ids: Mapping[str, frozenset[str]]

    @property
    def kinds(self) -> frozenset[str]:
        return frozenset(self.ids)

    def of(self, kind: str) -> frozenset[str]:
        return self.ids.get(kind, frozenset())


def advanced_at(epoch: int) -> datetime | None:
    """When the epoch took effect; None for the first one and for one that is no longer in the log."""
    return Advance.objects.filter(epoch=epoch).values_list("at", flat=True).first()


def touched_since(epoch: int, *, at: datetime | None) -> Touched | None:
    """All that was touched after the epoch, which took effect `at`. None when the log cannot tell: it was trimmed, or
    is that of another history because the database was restored, or it is so much that nothing is gained."""
    if Epoch.objects.get(id=1).trimmed_to > epoch or advanced_at(epoch) != at:
        return None
    moved = Advance.objects.filter(epoch__gt=epoch).values("txid")
    rows = Change.objects.filter(txid__in=moved).values_list("kind", "object_id").distinct()[: MOST_TOUCHED + 1]
    found: dict[str, set[str]] = defaultdict(set)
    for kind, object_id in rows:
        found[kind].add(object_id)
    if sum(map(len, found.values())) > MOST_TOUCHED:
        return None
    return Touched({kind: frozenset(ids) for kind, ids in found.items()})


def trim_change_log(keep: timedelta = KEEP) -> int:
    """Forgets older changes; a snapshot from before counts as touched by all. Returns how many epochs were forgotten.

    The mark is committed before anything goes, and a group reads it after the log: what it misses there is covered
    here, without the fence. The mark commits alone, because the last act of governed writes waits for its row.
    """
    newest = Advance.objects.filter(at__lt=Now() - keep).aggregate(newest=Max("epoch"))["newest"]
    if newest is None:
        return 0
    Epoch.objects.filter(trimmed_to__lt=newest).update(trimmed_to=newest)
    with transaction.atomic():
        old = Advance.objects.filter(epoch__lte=newest)
        Change.objects.filter(txid__in=old.values("txid")).delete()
        forgotten, _ = old.delete()
    return forgotten
