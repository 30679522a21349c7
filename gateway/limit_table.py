"""What processes take of the rate limits, in the database: every taking is one conditional UPDATE or under one lock, so
that all processes together never take more than a limit. Synchronous; the event loop's side is `limits.py`."""

from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from django.db import transaction
from django.db.models import F, QuerySet, Sum
from django.db.models.functions import Now

from gateway.commit.entry import EvidenceUnavailable
from gateway.models import GatewayProcess, LimitPlaces, LimitUse
from gateway.recovery import DEAD_AFTER
from governance.models import RateLimit

SHARES: Final = 8
"""A process takes an eighth of what is left, at least one: large limits seldom ask, small ones are spent one by one."""
ATTEMPTS: Final = 50
LOCK_WINDOW: Final = 0
CLOCKS_DIFFER_SECONDS: Final = 120
"""A window that is over here may go on elsewhere."""


@dataclass(frozen=True, slots=True)
class Subject:
    """One limit as it counts for one agent, team or tool, or for everybody."""

    limit_id: str
    name: str


class Table(Protocol):
    """All of it is synchronous, and may be done twice when a connection breaks: it then takes too much, never too
    little. Raises django.db.Error."""

    def take_requests(self, subject: Subject, window: int, *, maximum: int) -> int:
        """A share of what is left; 0 when nothing is."""

    def give_back_requests(self, subject: Subject, window: int, *, count: int) -> None:
        """Never to be done twice."""

    def add_bytes(self, subject: Subject, window: int, *, count: int) -> int:
        """What all have used of the window then."""

    def take_places(self, subject: Subject, *, held: int, maximum: int) -> int:
        """How many more this process may run, which `held` places already."""

    def keep_places(self, subject: Subject, *, held: int) -> None:
        """Gives back all but these."""

    def forget(self, now: float) -> None:
        """Drops what is over at this moment, in seconds since 1970."""


class LimitTable:
    """The table of one process."""

    def __init__(self, process_id: UUID) -> None:
        self._process_id = process_id

    def take_requests(self, subject: Subject, window: int, *, maximum: int) -> int:
        rows = _use(subject, window)
        for _ in range(ATTEMPTS):
            used = _find_or_add(rows, subject, window).requests
            if used >= maximum:
                return 0
            share = max(1, (maximum - used) // SHARES)
            if rows.filter(requests=used).update(requests=used + share):
                return share
        raise EvidenceUnavailable("a limit is too contended")

    def give_back_requests(self, subject: Subject, window: int, *, count: int) -> None:
        _use(subject, window).filter(requests__gte=count).update(requests=F("requests") - count)

    def add_bytes(self, subject: Subject, window: int, *, count: int) -> int:
        rows = _use(subject, window)
        _find_or_add(rows, subject, window)
        rows.update(bytes=F("bytes") + count)
        return rows.get().bytes

    def take_places(self, subject: Subject, *, held: int, maximum: int) -> int:
        lock = _use(subject, LOCK_WINDOW)
        _find_or_add(lock, subject, LOCK_WINDOW)
        with transaction.atomic():
            lock.update(requests=0)  # an UPDATE locks the row on either database
            left = maximum - held - self._places_of_others(subject)
            if left <= 0:
                return 0
            share = max(1, left // SHARES)
            self._set_places(subject, held + share)
        return share

    def keep_places(self, subject: Subject, *, held: int) -> None:
        self._set_places(subject, held)

    def forget(self, now: float) -> None:
        for limit_id, seconds in RateLimit.objects.values_list("id", "window_seconds"):
            oldest = int((now - CLOCKS_DIFFER_SECONDS) // seconds)
            LimitUse.objects.filter(limit_id=limit_id, window__gt=LOCK_WINDOW, window__lt=oldest).delete()
        LimitUse.objects.exclude(limit_id__in=RateLimit.objects.values("id")).delete()
        LimitPlaces.objects.exclude(process_id__in=_living()).delete()

    def _places_of_others(self, subject: Subject) -> int:
        rows = LimitPlaces.objects.filter(limit_id=subject.limit_id, subject=subject.name, process_id__in=_living())
        return rows.exclude(process_id=self._process_id).aggregate(sum=Sum("places"))["sum"] or 0

    def _set_places(self, subject: Subject, places: int) -> None:
        LimitPlaces.objects.update_or_create(
            limit_id=subject.limit_id,
            subject=subject.name,
            process_id=self._process_id,
            defaults={"places": places},
        )


def _living() -> QuerySet[GatewayProcess, UUID]:
    """Nobody gives back the places of a process that was killed."""
    living = GatewayProcess.objects.filter(ended_at=None, beat_at__gte=Now() - DEAD_AFTER)
    return living.values_list("id", flat=True)


def _use(subject: Subject, window: int) -> QuerySet[LimitUse]:
    return LimitUse.objects.filter(limit_id=subject.limit_id, subject=subject.name, window=window)


def _find_or_add(rows: QuerySet[LimitUse], subject: Subject, window: int) -> LimitUse:
    """Whoever comes second finds the row of the first."""
    if found := rows.first():
        return found
    new = LimitUse(limit_id=subject.limit_id, subject=subject.name, window=window)
    LimitUse.objects.bulk_create([new], ignore_conflicts=True)
    return rows.get()
