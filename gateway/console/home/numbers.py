"""The numbers of the home page, read from tallies: what they cost does not grow with the evidence."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Max, Q, Sum

from audit.models import CallTally, Checkpoint, Pending
from gateway.console.tallies import DENIED
from gateway.hostile_text import visible
from gateway.models import GatewayProcess
from gateway.recovery import DEAD_AFTER

HOURS = 24
TOP = 5
ANSWERED = ("ok", "tool_error", "input_required", "error")
"""Outcomes for which the upstream's time is known."""
WENT_WRONG = ("error", "failed", "unknown", "not_sent")
MOST_PENDING = 999


@dataclass(frozen=True, slots=True)
class Hour:
    """Calls that ended in the hour from `start`, by what was decided."""

    start: datetime
    permitted: int
    asked: int
    denied: int

    @property
    def calls(self) -> int:
        return self.permitted + self.asked + self.denied


@dataclass(frozen=True, slots=True)
class Numbers:
    """Of the past 24 hours. `mean_ms` is the upstreams' mean time, None without an answered call."""

    hours: tuple[Hour, ...]
    calls: int
    denied: int
    failed: int
    mean_ms: float | None


@dataclass(frozen=True, slots=True)
class ToolNumbers:
    connector: str
    tool: str
    calls: int
    denied: int
    mean_ms: float
    slowest_ms: float

    @property
    def shown(self) -> str:
        """Upstreams choose these names."""
        return visible(self.tool)


@dataclass(frozen=True, slots=True)
class AgentNumbers:
    agent: str
    calls: int
    denied: int


@dataclass(frozen=True, slots=True)
class Running:
    """What the live gateway processes say of themselves."""

    gateways: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class EvidenceHealth:
    """`waiting` counts committed events without a place in the log, up to a bound."""

    sealed: int
    sealed_at: datetime | None
    waiting: int


def first_hour(now: datetime) -> datetime:
    return now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS - 1)


def numbers(now: datetime) -> Numbers:
    rows = list(
        _recent(now)
        .values("hour", "decision", "outcome")
        .annotate(total=Sum("calls"), spent=Sum("upstream_ms"))
        .values_list("hour", "decision", "outcome", "total", "spent")
    )
    answered = sum(total for *_, outcome, total, _ in rows if outcome in ANSWERED)
    spent = sum(spent for *_, outcome, _, spent in rows if outcome in ANSWERED)
    return Numbers(
        hours=_by_hour(now, rows),
        calls=sum(total for *_, total, _ in rows),
        denied=sum(total for _, decision, *_, total, _ in rows if decision == DENIED),
        failed=sum(total for *_, outcome, total, _ in rows if outcome in WENT_WRONG),
        mean_ms=spent / answered if answered else None,
    )


def _by_hour(now: datetime, rows: Iterable[tuple[Any, ...]]) -> tuple[Hour, ...]:
    counts: dict[tuple[datetime, str], int] = {}
    for hour, decision, _, total, _ in rows:
        counts[hour, decision] = counts.get((hour, decision), 0) + total
    starts = [first_hour(now) + timedelta(hours=n) for n in range(HOURS)]
    return tuple(
        Hour(start, *(counts.get((start, decision), 0) for decision in ("permit", "ask", DENIED))) for start in starts
    )


def top_tools(now: datetime) -> tuple[list[ToolNumbers], list[ToolNumbers]]:
    """The slowest by the mean of their answered calls, and the most denied."""
    tools = _by_tool(now)
    slowest = sorted((tool for tool in tools if tool.mean_ms), key=lambda tool: -tool.mean_ms)
    denied = sorted((tool for tool in tools if tool.denied), key=lambda tool: -tool.denied)
    return slowest[:TOP], denied[:TOP]


def top_agents(now: datetime) -> list[AgentNumbers]:
    rows = (
        _recent(now)
        .values("agent")
        .annotate(total=Sum("calls"), denials=Sum("calls", filter=Q(decision=DENIED), default=0))
        .order_by("-total", "agent")[:TOP]
    )
    return [AgentNumbers(row["agent"], row["total"], row["denials"]) for row in rows]


def running(now: datetime) -> Running:
    live = GatewayProcess.objects.filter(ended_at=None, beat_at__gte=now - DEAD_AFTER)
    in_flight = list(live.values_list("calls_in_flight", flat=True))
    return Running(len(in_flight), sum(in_flight))


def evidence_health() -> EvidenceHealth:
    last = Checkpoint.objects.order_by("-size").values_list("size", "at").first()
    waiting = len(Pending.objects.order_by("id").values_list("id", flat=True)[: MOST_PENDING + 1])
    sealed, sealed_at = last or (0, None)
    return EvidenceHealth(sealed, sealed_at, waiting)


def _recent(now: datetime) -> Any:
    return CallTally.objects.filter(hour__gte=first_hour(now))


def _by_tool(now: datetime) -> list[ToolNumbers]:
    """At most as many rows as tools exist: names that agents made up are counted as one."""
    rows = (
        _recent(now)
        .values("connector", "tool")
        .annotate(
            total=Sum("calls"),
            denials=Sum("calls", filter=Q(decision=DENIED), default=0),
            answered=Sum("calls", filter=Q(outcome__in=ANSWERED), default=0),
            spent=Sum("upstream_ms"),
            longest=Max("slowest_ms"),
        )
        .order_by("connector", "tool")
        .values_list("connector", "tool", "total", "denials", "answered", "spent", "longest")
    )
    return [
        ToolNumbers(connector, tool, total, denials, spent / answered if answered else 0.0, longest)
        for connector, tool, total, denials, answered, spent, longest in rows
    ]
