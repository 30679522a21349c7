"""Letting evidence go: records of calls that are old enough, and payloads whose key is destroyed.

Whatever goes is on record first, in the same transaction; the triggers let nothing else go. Leaves stay: the tree does
not change. What must be kept is the caller's to say.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from audit.event import AuditEvent, first_id_at
from audit.kinds import CALL_KINDS, LISTED_KINDS, TALK_KINDS
from audit.models import EventRow, Leaf, Payload, Pruning, SearchEntry
from audit.pages import PAGE
from audit.pruned import PRUNED, Range, merged
from audit.record import record
from audit.sightings import forget_leaves

PRUNABLE = (*CALL_KINDS, *TALK_KINDS, *LISTED_KINDS, "resource.watched")
"""Records of calls. What people and the gateway did to rights, and to evidence, stays for ever."""


class Known(NamedTuple):
    """What decides whether the record of a call may go."""

    at: datetime
    retention: str
    person: str
    agent: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one look at the log came to: which leaves to prune, and where to look next."""

    ranges: list[Range]
    next_leaf: int
    is_end: bool

    @property
    def count(self) -> int:
        return sum(past - first for first, past in self.ranges)


def look_at(first: int, *, before: datetime, past: int | None, goes: Callable[[Known], bool]) -> Stretch:
    """One page of the log from leaf `first` on, up to the first record that is not older than `before`.

    `past` is a leaf that must stay with all after it: somebody has not read so far.
    """
    rows = list(Leaf.objects.filter(index__gte=first).order_by("index").values_list("index", "event_id")[:PAGE])
    columns = ("id", "kind", "at", "person", "agent", "header")
    found = EventRow.objects.filter(id__in=[event_id for _, event_id in rows]).values_list(*columns)
    events = {row[0]: row[1:] for row in found}
    chosen: list[Range] = []
    for index, event_id in rows:
        event = events.get(event_id)
        if (event is not None and event[1] >= before) or (past is not None and index >= past):
            return Stretch(merged(chosen), index, is_end=True)
        if event is not None and event[0] in PRUNABLE and goes(_known(event)):
            chosen.append((index, index + 1))
    return Stretch(merged(chosen), rows[-1][0] + 1 if rows else first, is_end=len(rows) < PAGE)


def prune_records(stretch: Stretch, *, by: str, now: datetime, details: dict[str, Any]) -> int:
    """On record, and gone; their hashes stay. In the caller's transaction."""
    if not stretch.ranges:
        return 0
    told = {**details, "ranges": stretch.ranges, "count": stretch.count}
    event_id = _tell(PRUNED, by=by, now=now, details=told)
    Pruning.objects.bulk_create(Pruning(event_id=event_id, first=first, past=past) for first, past in stretch.ranges)
    forget_leaves(stretch.ranges)
    return sum(_delete_records(first, past) for first, past in stretch.ranges)


def let_payloads_go(key_ids: Collection[str], *, person: str = "", event_id: UUID) -> None:
    """What lies under these keys may be deleted from now on, by the record `event_id`."""
    Pruning.objects.bulk_create(Pruning(event_id=event_id, key_id=key, person=person) for key in key_ids)


def tell_of_payloads(key_ids: Collection[str], *, by: str, now: datetime, details: dict[str, Any]) -> None:
    """The record of payloads that go by age, and the leave to delete them. In the caller's transaction."""
    event_id = _tell("audit.payloads_expired", by=by, now=now, details={**details, "keys": len(key_ids)})
    let_payloads_go(key_ids, event_id=event_id)


def delete_payloads(key_ids: Collection[str], *, since: datetime, until: datetime) -> int:
    """Those of a stretch of time that lie under these keys, in short transactions. There is no index by key: every call
    would pay for it."""
    last, end, deleted = first_id_at(since), first_id_at(until), 0
    while True:
        rows = Payload.objects.filter(event_id__gte=last, event_id__lt=end).order_by("event_id")
        page = list(rows.values_list("event_id", "key_id")[:PAGE])
        if gone := [event_id for event_id, key_id in page if key_id in key_ids]:
            deleted += _delete_payloads(gone)
        if len(page) < PAGE:
            return deleted
        last = UUID(int=page[-1][0].int + 1)


def payloads_of(person: str) -> QuerySet[Payload]:
    """Of calls that were recorded for this address. By its index: an intent is found by the end of its call."""
    settled = EventRow.objects.filter(person=person).exclude(kind="call.intent")
    ends = settled.filter(kind__in=("call.outcome",)).values("call_id")
    intents = EventRow.objects.filter(kind="call.intent", person=person, call_id__in=ends)
    return Payload.objects.filter(Q(event_id__in=settled.values("id")) | Q(event_id__in=intents.values("id")))


def has_payload(
    key_ids: Collection[str], *, agent: str, person: str = "", since: datetime | None, until: datetime | None
) -> bool:
    """Whether one of these keys seals something of that time: of this agent, of this person, or of both."""
    events = EventRow.objects.filter(Exists(Payload.objects.filter(event_id=OuterRef("id"), key_id__in=key_ids)))
    if agent:
        events = events.filter(agent=agent)
    if person:
        events = events.filter(person=person)
    if since is not None:
        events = events.filter(id__gte=first_id_at(since))
    return (events if until is None else events.filter(id__lt=first_id_at(until))).exists()


def forget_words(key_ids: Collection[str]) -> None:
    """What calls whose payloads lay under these keys are found by, in steps."""
    entries = SearchEntry.objects.filter(key_id__in=key_ids).order_by("key_id")
    while page := list(entries.values_list("event_id", flat=True)[:PAGE]):
        SearchEntry.objects.filter(event_id__in=page)._raw_delete("default")


def delete_shared(person: str, key_ids: Collection[str], *, event_id: UUID) -> int:
    """Payloads of one person under keys that others share: these rows go, for the keys have to stay."""
    ids = list(payloads_of(person).filter(key_id__in=key_ids).values_list("event_id", flat=True))
    if not ids:
        return 0
    let_payloads_go(key_ids, person=person, event_id=event_id)
    ends = EventRow.objects.filter(person=person).exclude(kind="call.intent").values("id")
    SearchEntry.objects.filter(key_id__in=key_ids, event_id__in=ends)._raw_delete("default")
    return sum(_delete_payloads(ids[at : at + PAGE]) for at in range(0, len(ids), PAGE))


def _known(event: tuple[Any, ...]) -> Known:
    _, at, person, agent, header = event
    try:
        retention = orjson.loads(bytes(header))["details"].get("retention", "")
    except (ValueError, TypeError, KeyError, AttributeError):
        retention = ""
    return Known(at, retention if isinstance(retention, str) else "", person, agent)


def _tell(kind: str, *, by: str, now: datetime, details: dict[str, Any]) -> UUID:
    event = AuditEvent(kind=kind, at=now, actor=by, details=details)
    record(event)
    return event.id


def _delete_records(first: int, past: int) -> int:
    gone = Leaf.objects.filter(index__gte=first, index__lt=past).values("event_id")
    SearchEntry.objects.filter(event_id__in=gone)._raw_delete("default")
    if connection.vendor == "postgresql":
        return _called("audit_prune_records", first, past)
    return EventRow.objects.filter(id__in=gone)._raw_delete("default")


@transaction.atomic
def _delete_payloads(event_ids: list[UUID]) -> int:
    if connection.vendor == "postgresql":
        return _called("audit_delete_payloads", event_ids)
    return Payload.objects.filter(event_id__in=event_ids)._raw_delete("default")


def _called(function: str, *arguments: Any) -> int:
    """On PostgreSQL the one way to delete evidence for a role that may not: these belong to whoever migrates."""
    marks = ", ".join(["%s"] * len(arguments))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}({marks})", arguments)
        return int(cursor.fetchone()[0])
