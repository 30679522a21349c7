"""Fills the inbox of findings from the log, beside the calls: a page of leaves and the cursor move in one transaction.

What evidence lets go goes from here too: whoever prunes or erases takes the cursor first, as does whoever counts, so
that nothing comes back that went meanwhile.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

import orjson
from django.db import connection, transaction
from django.db.models import Count, F, Max, Q, QuerySet

from audit.models import EventRow, FindingCursor, FindingGroup, Leaf, Sighting
from audit.record import as_column

PAGE: Final = 900
"""SQLite before 3.32 takes 999 parameters."""
MOST_LEAVES: Final = 50_000
"""In one run; what is left waits for the next."""
MOST_VALUES: Final = 20
"""Of one rule in one record that are told apart: an upstream may answer with as many as it likes."""
MOST_GROUPS: Final = 1_000
"""Of one rule at one tool; further values count together."""
INTENT: Final = "call.intent"
TELLING: Final = (INTENT, "call.outcome", "call.refused", "approval.asked")
IN_RESULT: Final = "call.outcome"
SPACE: Final = UUID("5a0e8a57-2f1c-4d0e-9a7b-6f1d2c3b4a59")
ERASED: Final = "audit.subject_erased"

ADD: Final = """
    INSERT INTO audit_finding
        (id, rule, kind, version, fingerprint, connector, tool, records, excepted, first_at, last_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (id) DO UPDATE SET
        version = excluded.version,
        records = audit_finding.records + excluded.records,
        excepted = audit_finding.excepted + excluded.excepted,
        last_at = CASE WHEN excluded.last_at > audit_finding.last_at
            THEN excluded.last_at ELSE audit_finding.last_at END
"""


class Subject(NamedTuple):
    """What one group counts."""

    rule: str
    kind: str
    fingerprint: str
    connector: str
    tool: str

    @property
    def id(self) -> UUID:
        return uuid5(SPACE, "\0".join(self))

    @property
    def unnamed(self) -> "Subject":
        return self._replace(fingerprint="")


@dataclass(slots=True)
class Seen:
    """One record with what it tells of one group."""

    subject: Subject
    event: EventRow
    leaf: int
    version: int = 0
    count: int = 0
    path: str = ""
    exception: str = ""

    def add(self, found: "Told") -> None:
        if found.count > self.count:
            self.path = found.path
        self.version, self.count = max(self.version, found.version), self.count + found.count
        self.exception = self.exception or found.exception


@dataclass(slots=True)
class Told:
    """A finding as evidence has it."""

    rule: str
    version: int
    kind: str
    path: str
    count: int
    fingerprints: tuple[str, ...] = ()
    exception: str = ""


@dataclass(slots=True)
class _Sum:
    version: int = 0
    records: int = 0
    excepted: int = 0
    moments: list[datetime] = field(default_factory=list)

    def add(self, seen: Seen) -> None:
        self.version = max(self.version, seen.version)
        self.records += 1
        self.excepted += bool(seen.exception)
        self.moments.append(seen.event.at)


def count_new_findings() -> int:
    """Brings the inbox up to the log, as far as one run may; how many leaves it read."""
    read = 0
    while read < MOST_LEAVES and (found := _count_page()):
        read += found
    return read


def _count_page() -> int:
    """Reads outside the transaction, as SQLite has one writer; 0 when all is read or another run was faster."""
    start = FindingCursor.objects.values_list("next_leaf", flat=True).first() or 0
    end = _end_of_page(start)
    if end == start:
        return 0
    found = [seen for leaf, event in _records(start, end) for seen in seen_in(event, leaf)]
    with transaction.atomic():
        FindingCursor.objects.get_or_create(id=1)
        if not FindingCursor.objects.filter(next_leaf=start).update(next_leaf=end):
            return 0
        _keep(_bounded(_still_there(found)))
    return end - start


def _end_of_page(start: int) -> int:
    last = Leaf.objects.filter(index__gte=start, index__lt=start + PAGE).aggregate(last=Max("index"))["last"]
    return start if last is None else int(last) + 1


def _records(start: int, end: int) -> Iterator[tuple[int, EventRow]]:
    leaves = Leaf.objects.filter(index__gte=start, index__lt=end)
    places = dict(leaves.values_list("event_id", "index"))
    for event in EventRow.objects.filter(id__in=leaves.values("event_id"), kind__in=TELLING).iterator():
        if b'"findings"' in bytes(event.header) and not _was_told_when_asked(event):
            yield places[event.pk], event


def _was_told_when_asked(event: EventRow) -> bool:
    """One held call is one record: what humans agreed to was told by the record that asked them. Narrowed arguments
    are others, so they are told of again."""
    if event.kind != INTENT or b'"approval"' not in bytes(event.header):
        return False
    try:
        return not orjson.loads(bytes(event.header))["details"]["approval"].get("narrowed")
    except (ValueError, TypeError, KeyError, AttributeError):
        return False


def seen_in(event: EventRow, leaf: int) -> list[Seen]:
    """What one record tells of, by group; values beyond MOST_VALUES of a rule are told together."""
    seen: dict[Subject, Seen] = {}
    values: Counter[str] = Counter()
    for told in told_by(bytes(event.header)):
        for fingerprint in told.fingerprints or ("",):
            subject = Subject(told.rule, told.kind, fingerprint, event.connector, event.tool)
            if subject not in seen:
                values[told.rule] += 1
                if values[told.rule] > MOST_VALUES:
                    subject = subject.unnamed
            seen.setdefault(subject, Seen(subject, event, leaf)).add(told)
    return list(seen.values())


def told_by(header: bytes) -> Iterator[Told]:
    """What cannot be read tells of nothing: the screens of evidence show it as it is."""
    try:
        found = orjson.loads(header)["details"]["findings"]
        for each in found:
            yield Told(
                rule=as_column(str(each["rule"])),
                version=int(each["version"]),
                kind=as_column(str(each["kind"])),
                path=as_column(str(each["path"])),
                count=int(each["count"]),
                fingerprints=tuple(as_column(str(one)) for one in each.get("fingerprints", ())),
                exception=as_column(str(each.get("exception", ""))),
            )
    except (ValueError, TypeError, KeyError, AttributeError):
        return


def _still_there(found: list[Seen]) -> list[Seen]:
    """Inside the transaction that moved the cursor: without what was pruned or erased since it was read."""
    ids = {seen.event.pk for seen in found}
    there = set(EventRow.objects.filter(id__in=ids).values_list("id", flat=True)) if ids else ids
    people = {seen.event.person for seen in found if seen.event.person}
    told = EventRow.objects.filter(kind=ERASED, call_id=None, person__in=people) if people else EventRow.objects.none()
    erased = dict(told.values("person").annotate(last=Max("at")).values_list("person", "last"))
    return [seen for seen in found if seen.event.pk in there and not _is_erased(seen.event, erased)]


def _is_erased(event: EventRow, erased: dict[str, datetime]) -> bool:
    return event.person in erased and event.at <= erased[event.person]


def _bounded(found: list[Seen]) -> list[Seen]:
    """What would be one group too many of a rule at a tool is counted with those that are not told apart."""
    fresh = {seen.subject for seen in found}
    ids = sorted(subject.id for subject in fresh)
    known = {one for some in _some(ids) for one in _groups(some).values_list("id", flat=True)}
    room: dict[tuple[str, str, str], int] = {}
    allowed: set[Subject] = set()
    for seen in found:
        subject = seen.subject
        if subject.id in known or not subject.fingerprint or subject in allowed:
            allowed.add(subject)
            continue
        place = (subject.rule, subject.connector, subject.tool)
        if place not in room:
            room[place] = MOST_GROUPS - _groups_at(*place)
        if room[place] > 0:
            room[place] -= 1
            allowed.add(subject)
    return _merged(seen if seen.subject in allowed else _unnamed(seen) for seen in found)


def _groups_at(rule: str, connector: str, tool: str) -> int:
    return FindingGroup.objects.filter(rule=rule, connector=connector, tool=tool).count()


def _unnamed(seen: Seen) -> Seen:
    return Seen(seen.subject.unnamed, seen.event, seen.leaf, seen.version, seen.count, seen.path, seen.exception)


def _merged(found: Iterable[Seen]) -> list[Seen]:
    """One of each group and leaf."""
    merged: dict[tuple[Subject, int], Seen] = {}
    for seen in found:
        first = merged.setdefault((seen.subject, seen.leaf), seen)
        if first is not seen:
            first.count += seen.count
            first.exception = first.exception or seen.exception
    return list(merged.values())


def _keep(found: list[Seen]) -> None:
    sums: dict[Subject, _Sum] = defaultdict(_Sum)
    for seen in found:
        sums[seen.subject].add(seen)
    with connection.cursor() as cursor:
        cursor.executemany(ADD, [_row(subject, total) for subject, total in sorted(sums.items())])
    Sighting.objects.bulk_create([_sighting(seen) for seen in found], batch_size=500)


def _row(subject: Subject, total: _Sum) -> tuple[Any, ...]:
    as_uuid, moment = FindingGroup._meta.pk.get_db_prep_value, connection.ops.adapt_datetimefield_value
    return (
        as_uuid(subject.id, connection),
        *(subject.rule, subject.kind, total.version, subject.fingerprint, subject.connector, subject.tool),
        *(total.records, total.excepted, moment(min(total.moments)), moment(max(total.moments))),
    )


def _sighting(seen: Seen) -> Sighting:
    event = seen.event
    return Sighting(
        group=seen.subject.id,
        leaf=seen.leaf,
        event_id=event.pk,
        call_id=event.call_id,
        session=event.session,
        at=event.at,
        in_result=event.kind == IN_RESULT,
        path=seen.path,
        count=seen.count,
        agent=event.agent,
        person=event.person,
        exception=seen.exception,
    )


def seen_with(agent: str) -> Q:
    """Of groups."""
    return Q(pk__in=Sighting.objects.filter(agent=agent).values("group"))


# -- letting go


def forget_leaves(ranges: Iterable[tuple[int, int]]) -> None:
    """Of records that were pruned; in the caller's transaction. What humans said of a value stays."""
    _take_cursor()
    for first, past in ranges:
        _forget(Sighting.objects.filter(leaf__gte=first, leaf__lt=past))


def forget_person(address: str) -> None:
    """Of a person who was erased; in the caller's transaction. Values that were only seen with her are forgotten."""
    _take_cursor()
    for some in _some(_forget(Sighting.objects.filter(person=address))):
        _groups(some).filter(records__lte=0).delete()


def _take_cursor() -> None:
    FindingCursor.objects.get_or_create(id=1)
    FindingCursor.objects.update(next_leaf=F("next_leaf"))


def _forget(rows: QuerySet[Sighting]) -> list[UUID]:
    """Ids of the groups that were seen there."""
    totals = list(
        rows.order_by().values("group").annotate(all=Count("id"), excepted=Count("id", filter=~Q(exception="")))
    )
    for total in totals:
        FindingGroup.objects.filter(id=total["group"]).update(
            records=F("records") - total["all"], excepted=F("excepted") - total["excepted"]
        )
    rows.delete()
    groups = [total["group"] for total in totals]
    for some in _some(groups):
        _groups(some).filter(records__lte=0, verdict="").delete()
    return groups


def _some(ids: list[UUID]) -> Iterator[list[UUID]]:
    for start in range(0, len(ids), PAGE):
        yield ids[start : start + PAGE]


def _groups(ids: Collection[UUID]) -> QuerySet[FindingGroup]:
    return FindingGroup.objects.filter(id__in=ids)
