"""The change log is read only by processes that are a moment behind; yesterday's is of no use."""

from datetime import timedelta

from django.db import connection, transaction
from django.db.models import Max
from django.db.models.functions import Now

from governance.fence import FENCE_KEY
from governance.models import Advance, Change, Epoch

KEEP = timedelta(days=1)


def trim_change_log(keep: timedelta = KEEP) -> int:
    """Forgets older changes; a snapshot from before counts as touched by all. Returns how many epochs were forgotten.

    Behind the fence, because a group reads the mark and the log in two statements.
    """
    with transaction.atomic():
        old = Advance.objects.filter(at__lt=Now() - keep)
        newest = old.aggregate(newest=Max("epoch"))["newest"]
        if newest is None:
            return 0
        Change.objects.filter(txid__in=old.values("txid")).delete()
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [FENCE_KEY])
        Epoch.objects.update(trimmed_to=newest)
        forgotten, _ = Advance.objects.filter(epoch__lte=newest).delete()
        return forgotten
