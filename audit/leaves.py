"""Reading the log for those who send it on."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

from django.db.models import Max

from audit.event import first_id_at
from audit.formats.entry import Entry, SignedSize
from audit.models import Checkpoint, EventRow, Leaf

PAGE = 900  # SQLite before 3.32 takes 999 parameters


class LeafMissing(Exception):
    """The log has a hole: going on would hide it. The message is safe to show."""


def log_size() -> int:
    last = Leaf.objects.aggregate(last=Max("index"))["last"]
    return 0 if last is None else last + 1


def entries(first: int, end: int) -> Iterator[Entry]:
    """Leaves [first, end) with their events, a page at a time. LeafMissing at a hole, after all that comes before."""
    for start in range(first, end, PAGE):
        stop = min(start + PAGE, end)
        found = Leaf.objects.filter(index__gte=start, index__lt=stop).order_by("index")
        leaves = list(found.values_list("index", "event_id", "hash"))
        rows = EventRow.objects.filter(id__in=[event_id for _, event_id, _ in leaves])
        events = {row[0]: row[1:] for row in rows.values_list("id", "at", "epoch", "header")}
        expected = start
        for index, event_id, stored in leaves:
            if index != expected:
                break
            expected += 1
            at, epoch, header = events.get(event_id, (_moment(event_id), 0, None))
            yield Entry(index, bytes(stored), event_id, at, epoch, None if header is None else bytes(header))
        if expected < stop:
            raise LeafMissing(f"Leaf {expected} is missing from the log: run verify_audit.")


def first_leaf_since(at: datetime) -> int:
    """The first leaf whose event is of that moment or later; the end of the log if there is none.

    By halves: leaves stand in the order of commits, which is that of their time but for a moment.
    """
    low, high = 0, log_size()
    while low < high:
        middle = (low + high) // 2
        event_id = Leaf.objects.values_list("event_id", flat=True).get(index=middle)
        low, high = (middle + 1, high) if event_id < first_id_at(at) else (low, middle)
    return low


def newest_checkpoint(*, up_to: int) -> SignedSize | None:
    """The newest that covers nothing beyond the leaves before `up_to`."""
    row = Checkpoint.objects.filter(size__lte=up_to).order_by("-size").values_list("size", "at", "note").first()
    return None if row is None else SignedSize(*row)


def _moment(event_id: UUID) -> datetime:
    """Of an event that is gone, as its time-ordered id tells it."""
    return datetime.fromtimestamp((event_id.int >> 80) / 1000, UTC)
