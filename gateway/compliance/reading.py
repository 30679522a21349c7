"""Evidence as reports read it: signed events in the order of time, each with its place in the log, a page at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from heapq import merge
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from django.db.models import QuerySet

from audit.event import first_id_at
from audit.models import EventRow, Leaf
from audit.pages import Unreadable, pages

COLUMNS = ("kind", "actor", "agent", "person", "tool", "connector", "decision", "outcome", "at", "header")


class Place(NamedTuple):
    """Where an event stands in the log, and what stands there."""

    leaf: int
    hash: bytes
    event_id: UUID


@dataclass(frozen=True, slots=True)
class Told:
    """One signed event."""

    place: Place
    kind: str
    actor: str
    agent: str
    person: str
    tool: str
    connector: str
    decision: str
    outcome: str
    at: datetime
    details: dict[str, Any]

    @property
    def subject(self) -> str:
        return str(self.details.get("subject", "") or _named(self))


@dataclass(slots=True)
class Reading:
    """What one report reads: up to one checkpoint, in one period. Counts what it had to leave out."""

    size: int
    since: datetime
    until: datetime
    unsigned: int = 0
    unreadable: int = 0
    _seen: set[UUID] = field(default_factory=set)

    def of_kinds(self, kinds: Iterable[str], *, since: datetime | None = None) -> Iterator[Told]:
        """Acts, not calls. A stream for each kind: only so is every page a short walk of the index of kinds."""
        return self.merged(
            [EventRow.objects.filter(kind=kind, call_id=None) for kind in sorted(set(kinds))], since=since
        )

    def merged(self, streams: Iterable[QuerySet[EventRow]], *, since: datetime | None = None) -> Iterator[Told]:
        """Those of several queries in the order of time, each event once."""
        first, end = first_id_at(since or self.since), first_id_at(self.until)
        ordered = [self._stream(rows.filter(id__gte=first, id__lt=end)) for rows in streams]
        last: UUID | None = None
        for told in merge(*ordered, key=lambda told: told.place.event_id):
            if told.place.event_id != last:
                last = told.place.event_id
                yield told

    def _stream(self, rows: QuerySet[EventRow]) -> Iterator[Told]:
        for page in pages(rows, "id", *COLUMNS):
            ids = [row[0] for row in page if not isinstance(row, Unreadable)]
            leaves = Leaf.objects.filter(event_id__in=ids, index__lt=self.size)
            placed = {leaf[1]: leaf for leaf in leaves.values_list("index", "event_id", "hash")}
            for row in page:
                if isinstance(row, Unreadable):
                    self.unreadable += 1
                elif row[0] not in placed:
                    self.unsigned += row[0] not in self._seen
                    self._seen.add(row[0])
                elif told := _told(row, placed[row[0]]):
                    yield told
                else:
                    self.unreadable += 1


def _told(row: tuple[Any, ...], leaf: tuple[int, UUID, Any]) -> Told | None:
    """None for a header that is none any more: pruned, or damaged."""
    kind, actor, agent, person, tool, connector, decision, outcome, at, header = row[1:]
    try:
        details = orjson.loads(bytes(header))["details"]
    except (ValueError, TypeError, KeyError):
        return None
    return Told(
        place=Place(leaf[0], bytes(leaf[2]), leaf[1]),
        kind=kind,
        actor=actor,
        agent=agent,
        person=person,
        tool=tool,
        connector=connector,
        decision=decision,
        outcome=outcome,
        at=at,
        details=details if isinstance(details, dict) else {},
    )


def _named(told: Told) -> str:
    if told.agent:
        return f"agent:{told.agent}"
    return f"person:{told.person}" if told.person else ""
