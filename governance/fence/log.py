"""The change log is read only by processes that are a moment behind; yesterday's is of no use."""

from datetime import timedelta

from django.db import transaction
from django.db.models import Max
from django.db.models.functions import Now

from governance.models import Advance, Change, Epoch

KEEP = timedelta(days=1)


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
