"""Counts calls by hour and by session from the log, so that no screen ever counts evidence.

Leaves have no gaps, so the next leaf to read says exactly what has been counted. A page of leaves and the cursor
move in one short transaction: each leaf counts once, however many counters run and wherever one dies.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from django.db import connection, transaction
from django.db.models import Max

from audit.kinds import CALL_ENDS
from audit.models import AgentSession, CallTally, EventRow, Leaf, TallyCursor
from audit.session_sums import add_sessions, session_sums

PAGE = 2_000
MOST_LEAVES = 50_000
"""In one run; what is left waits for the next."""

ADD = """
    INSERT INTO audit_call_tally
        (hour, agent, connector, tool, decision, outcome, calls, upstream_ms, slowest_ms)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (hour, agent, connector, tool, decision, outcome) DO UPDATE SET
        calls = audit_call_tally.calls + excluded.calls,
        upstream_ms = audit_call_tally.upstream_ms + excluded.upstream_ms,
        slowest_ms = CASE WHEN audit_call_tally.slowest_ms > excluded.slowest_ms
            THEN audit_call_tally.slowest_ms ELSE excluded.slowest_ms END
"""


class Subject(NamedTuple):
    """What one tally counts. An agent may ask for tools that do not exist: those calls name no tool."""

    hour: datetime
    agent: str
    connector: str
    tool: str
    decision: str
    outcome: str


@dataclass(slots=True)
class Sum:
    calls: int = 0
    upstream_ms: float = 0.0
    slowest_ms: float = 0.0

    def add(self, upstream_ms: float) -> None:
        self.calls += 1
        self.upstream_ms += upstream_ms
        self.slowest_ms = max(self.slowest_ms, upstream_ms)


def count_new_calls() -> int:
    """Brings the tallies up to the log, as far as one run may; how many leaves it read."""
    read = 0
    while read < MOST_LEAVES and (found := _count_page()):
        read += found
    return read


def count_anew() -> None:
    """Throws the tallies away; the next runs count from the first leaf."""
    with transaction.atomic():
        CallTally.objects.all().delete()
        AgentSession.objects.all().delete()
        TallyCursor.objects.update(next_leaf=0)


def _count_page() -> int:
    """Reads outside the transaction, as SQLite has one writer; 0 when all is counted or another run was faster."""
    start = TallyCursor.objects.values_list("next_leaf", flat=True).first() or 0
    end = _end_of_page(start)
    if end == start:
        return 0
    calls = list(_calls_between(start, end))
    sums, sessions = _sums(calls), session_sums(calls)
    with transaction.atomic():
        TallyCursor.objects.get_or_create(id=1)
        if not TallyCursor.objects.filter(next_leaf=start).update(next_leaf=end):
            return 0
        with connection.cursor() as cursor:
            cursor.executemany(ADD, [_row(subject, total) for subject, total in sorted(sums.items())])
        add_sessions(sessions)
    return end - start


def _end_of_page(start: int) -> int:
    last = Leaf.objects.filter(index__gte=start, index__lt=start + PAGE).aggregate(last=Max("index"))["last"]
    return start if last is None else int(last) + 1


def _calls_between(start: int, end: int) -> Iterable[EventRow]:
    placed = Leaf.objects.filter(index__gte=start, index__lt=end).values("event_id")
    return EventRow.objects.filter(id__in=placed, kind__in=CALL_ENDS).iterator()


def _sums(calls: Iterable[EventRow]) -> dict[Subject, Sum]:
    sums: dict[Subject, Sum] = {}
    for call in calls:
        hour = call.at.replace(minute=0, second=0, microsecond=0)
        subject = Subject(hour, call.agent, call.connector, call.tool, call.decision, call.outcome)
        sums.setdefault(subject, Sum()).add(_upstream_ms(call))
    return sums


def _upstream_ms(call: EventRow) -> float:
    """How long the upstream took; 0 if it was never asked or gave no answer, or if the record cannot be read."""
    try:
        details = orjson.loads(bytes(call.header)).get("details", {})
        return max(0.0, float(details.get("upstream_ms", 0)))
    except (ValueError, TypeError, AttributeError):
        return 0.0


def _row(subject: Subject, total: Sum) -> tuple[Any, ...]:
    hour = connection.ops.adapt_datetimefield_value(subject.hour)
    return hour, *subject[1:], total.calls, total.upstream_ms, total.slowest_ms
