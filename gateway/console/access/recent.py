"""What an agent did lately, from its evidence: bounded reads along the agent's index."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from django.db.models import Sum

from audit.kinds import DECISIONS, OUTCOMES, TONES
from audit.models import CallTally, EventRow
from gateway.console.last_seen import own_events
from gateway.console.tallies import DENIED

LOOKED_AT = 200
CALLS_SHOWN = 20
FAILED = ("tool_error", "error", "failed", "unknown", "not_sent")


@dataclass(frozen=True, slots=True)
class RecentCall:
    """`call_id` is its event's for a call that was refused before it became one; the page of a call takes both."""

    at: datetime
    call_id: UUID
    connector: str
    tool: str
    decision: str
    outcome: str

    @property
    def decided(self) -> str:
        return DECISIONS.get(self.decision, self.decision)

    @property
    def ended(self) -> str:
        return OUTCOMES.get(self.outcome, self.outcome) or "Under way"

    @property
    def tone(self) -> str:
        return TONES.get(self.outcome, "info")


@dataclass(frozen=True, slots=True)
class Lately:
    calls: tuple[RecentCall, ...]
    key_uses: dict[str, datetime]
    """Key id in hexadecimal, as evidence writes it -> when it last started a call, as far as the last events tell."""


@dataclass(frozen=True, slots=True)
class Day:
    """The last 24 hours, in whole hours."""

    calls: int
    answered: int
    denied: int
    failed: int


def lately(agent: str) -> Lately:
    rows = list(own_events(agent)[:LOOKED_AT])
    return Lately(tuple(calls_of(rows))[:CALLS_SHOWN], _key_uses(rows))


def calls_of(rows: Sequence[EventRow]) -> Iterator[RecentCall]:
    """Newest first. A call's outcome stands for it (ids of one millisecond are in no order); without one it is open."""
    outcomes = {row.call_id: row for row in rows if row.kind == "call.outcome"}
    seen: set[UUID | None] = set()
    for row in rows:
        if row.call_id in seen:
            continue
        if row.call_id is not None:
            seen.add(row.call_id)
        told = outcomes.get(row.call_id, row)
        yield RecentCall(told.at, told.call_id or told.pk, told.connector, told.tool, told.decision, told.outcome)


def _key_uses(rows: Iterable[EventRow]) -> dict[str, datetime]:
    uses: dict[str, datetime] = {}
    for row in rows:
        if row.kind == "call.intent":
            details: dict[str, Any] = orjson.loads(bytes(row.header))["details"]
            uses.setdefault(str(details.get("credential", "")), row.at)
    return uses


def last_day(agent: str, *, now: datetime) -> Day:
    """Named hours, so that the tally's index, which starts with the hour, is hit once for each."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    hours = [hour - timedelta(hours=back) for back in range(24)]
    rows = CallTally.objects.filter(hour__in=hours, agent=agent).values("decision", "outcome")
    counts = {(row["decision"], row["outcome"]): row["total"] for row in rows.annotate(total=Sum("calls"))}
    return Day(
        calls=sum(counts.values()),
        answered=sum(total for (_, outcome), total in counts.items() if outcome == "ok"),
        denied=sum(total for (decision, _), total in counts.items() if decision == DENIED),
        failed=sum(total for (_, outcome), total in counts.items() if outcome in FAILED),
    )
