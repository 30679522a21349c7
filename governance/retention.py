"""How long evidence is kept: the classes, and which of their keys are over."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from governance.models import Bundle, RetentionClass, SubjectKey
from governance.snapshot_values import STANDARD


@dataclass(frozen=True, slots=True)
class Terms:
    """Days; 0 is for ever."""

    name: str
    payload_days: int
    header_days: int


BUILT_IN = Terms(STANDARD, payload_days=400, header_days=0)
"""What counts until somebody writes a class of that name, or makes another one the default."""


def default_class() -> Terms:
    """Of bundles that name none."""
    rows = list(RetentionClass.objects.all())
    chosen = next((row for row in rows if row.is_default), None)
    return _terms(chosen) if chosen else _by_name(rows)[STANDARD]


def terms_by_name() -> dict[str, Terms]:
    """All classes, with the one that is built in."""
    return _by_name(RetentionClass.objects.all())


def _by_name(rows: Iterable[RetentionClass]) -> dict[str, Terms]:
    return {BUILT_IN.name: BUILT_IN} | {row.name: _terms(row) for row in rows}


def bundles_elsewhere(row: RetentionClass, bundles: Iterable[Bundle]) -> list[str]:
    """The names of those that are in another class: a bundle is in one."""
    others = Bundle.objects.filter(pk__in=[bundle.pk for bundle in bundles]).exclude(retention=None)
    return sorted(others.exclude(retention=row.pk).values_list("name", flat=True))


def taken_elsewhere(names: Iterable[str]) -> str:
    return f"In another class already: {', '.join(names)}. Take them out there first."


def give_bundles(row: RetentionClass, bundles: Iterable[Bundle]) -> None:
    """These, and no others, are kept by this class from now on."""
    chosen = [bundle.pk for bundle in bundles]
    row.bundles.exclude(pk__in=chosen).update(retention=None)
    Bundle.objects.filter(pk__in=chosen).update(retention=row)


def period_of(at: datetime) -> str:
    """The month, in UTC, as keys name it."""
    at = at.astimezone(UTC)
    return f"{at.year}-{at.month:02}"


def days_of(period: str) -> tuple[date, date]:
    """First and last day."""
    first = date.fromisoformat(f"{period}-01")
    return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def expired_keys(now: datetime) -> Iterable[SubjectKey]:
    """Live keys whose last possible payload is older than its class allows. A class that is gone keeps its keys."""
    for terms in terms_by_name().values():
        if terms.payload_days:
            newest = period_of(now - timedelta(days=terms.payload_days))
            yield from SubjectKey.objects.filter(retention=terms.name, period__lt=newest, destroyed_at=None)


def _terms(row: RetentionClass) -> Terms:
    return Terms(row.name, row.payload_days, row.header_days)
