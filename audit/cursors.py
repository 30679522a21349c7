"""How far each sink is, and who may move it. Every step is one UPDATE whose row count says whether it counted."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import F, Min, Q, QuerySet
from django.utils import timezone

from audit.leaves import log_size
from audit.models import DeadLetter, EventRow, Leaf, SinkCursor

LEASE = timedelta(seconds=20)
CIRCUIT_OPENS_AFTER = 5
SHOWN_OF_ERRORS = 300


class LeaseLost(Exception):
    """Somebody else sends for this sink now, or it was moved: what we hold counts no more."""


@dataclass(slots=True)
class Lease:
    """The right to send for one sink, and the range that must be sent: [acked, planned)."""

    sink: UUID
    token: UUID
    acked: int
    planned: int
    failures: int

    def plan(self, end: int) -> None:
        """Writes down where the batch ends before anything is sent. Raises LeaseLost."""
        if end != self.planned:
            self._move(next_index=end)
            self.planned = end

    def acknowledge(self, end: int) -> None:
        """Everything before `end` has arrived. Raises LeaseLost."""
        now = timezone.now()
        planned = max(end, self.planned)
        healthy = {"failures": 0, "retry_at": None, "last_error": "", "last_error_at": None, "refused_version": ""}
        self._move(acked_index=end, next_index=planned, acked_at=now, leased_until=now + LEASE, **healthy)
        self.acked, self.planned, self.failures = end, planned, 0

    def bury(self, index: int, event_id: UUID, error: str) -> None:
        """Dead letter and cursor together, or neither: a sink that is gone gets no letters. Raises LeaseLost."""
        with transaction.atomic():
            bury(self.sink, index, event_id, error)
            self.acknowledge(index + 1)

    def note_checkpoint(self, size: int) -> None:
        self._move(checkpoint_size=size, checkpoint_at=timezone.now())

    def fail(self, error: str, *, retry_at: datetime | None, refused_version: str = "") -> None:
        """Lets go of the sink until `retry_at`; without it, until a human acts."""
        self.failures += 1
        self._move(
            failures=F("failures") + 1,
            retry_at=retry_at,
            refused_version=refused_version,
            last_error=error[:SHOWN_OF_ERRORS],
            last_error_at=timezone.now(),
            leased_until=None,
        )

    def release(self) -> None:
        self._ours().update(leased_until=None)

    def renew(self) -> None:
        """While a destination takes its time; from another thread than the one that sends."""
        self._ours().update(leased_until=timezone.now() + LEASE)

    def _move(self, **values: object) -> None:
        if not self._ours().filter(acked_index=self.acked).update(**values):
            raise LeaseLost

    def _ours(self) -> QuerySet[SinkCursor]:
        return SinkCursor.objects.filter(sink=self.sink, lease=self.token)


def take(sink: UUID, *, version: str, now: datetime) -> Lease | None:
    """None while another process sends, before the next try is due, and when the destination refused this version."""
    token = uuid4()
    free = Q(leased_until__isnull=True) | Q(leased_until__lt=now)
    is_due = Q(retry_at__isnull=True) | Q(retry_at__lte=now)
    rows = SinkCursor.objects.filter(free, is_due, sink=sink).exclude(refused_version=version)
    if not rows.update(lease=token, leased_until=now + LEASE):
        return None
    held = SinkCursor.objects.get(sink=sink)
    return Lease(sink, token, held.acked_index, held.next_index, held.failures)


def begin(sink: UUID, *, at: int) -> None:
    """A new sink's place in the log; one that has a place keeps it."""
    SinkCursor.objects.get_or_create(sink=sink, defaults={"acked_index": at, "next_index": at})


def end(sink: UUID) -> None:
    """Its place goes, for good. Who is sending now loses the lease."""
    SinkCursor.objects.filter(sink=sink).delete()


def rewind(sink: UUID, *, to: int) -> None:
    """Sends again from leaf `to` on. Who is sending now loses the lease."""
    to = max(0, min(to, log_size()))
    again = {"acked_index": to, "next_index": to, "lease": None, "leased_until": None, "retry_at": None}
    SinkCursor.objects.filter(sink=sink).update(**again, failures=0, refused_version="", checkpoint_size=0)


def resume(sink: UUID) -> None:
    """Tries again now, also what was refused."""
    SinkCursor.objects.filter(sink=sink).update(retry_at=None, refused_version="", failures=0)


def bury(sink: UUID, index: int, event_id: UUID, error: str) -> None:
    letter, is_new = DeadLetter.objects.get_or_create(
        sink=sink,
        index=index,
        defaults={"event_id": event_id, "error": error[:SHOWN_OF_ERRORS], "at": timezone.now()},
    )
    if not is_new:
        DeadLetter.objects.filter(id=letter.id).update(
            attempts=F("attempts") + 1, error=error[:SHOWN_OF_ERRORS], at=timezone.now()
        )


@dataclass(frozen=True, slots=True)
class Lag:
    """What has not arrived yet; `seconds` is the age of the oldest of it."""

    records: int
    seconds: float


def lag(cursor: SinkCursor, *, now: datetime) -> Lag:
    records = max(0, log_size() - cursor.acked_index)
    if not records:
        return Lag(0, 0.0)
    oldest = Leaf.objects.filter(index=cursor.acked_index).values("event_id")
    at = EventRow.objects.filter(id__in=oldest).values_list("at", flat=True).first()
    return Lag(records, max(0.0, (now - at).total_seconds()) if at else 0.0)


@dataclass(frozen=True, slots=True)
class Anchored:
    """The last checkpoint that a sink was given."""

    size: int
    at: datetime | None


def checkpoint_of(sink: UUID) -> Anchored:
    return Anchored(*SinkCursor.objects.values_list("checkpoint_size", "checkpoint_at").get(sink=sink))


def slowest(sinks: Collection[UUID]) -> int | None:
    """The first leaf that one of these has not got yet; None without any."""
    found: int | None = SinkCursor.objects.filter(sink__in=sinks).aggregate(slowest=Min("acked_index"))["slowest"]
    return found
