"""The inbox of an approver: what waits for her, and what became of the rest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.http import urlencode

from gateway.console.approvals import live
from gateway.console.approvals.frame import ApprovalsPage
from gateway.console.approvals.groups import FEWEST, alike
from gateway.console.approvals.masking import mask_for
from gateway.console.approvals.sentences import Sentence
from gateway.console.approvals.shown import STATES, arguments_of, sees_all, sentence
from gateway.console.approvals.waiting import decides_much, pending, waiting_for
from gateway.hostile_text import visible
from governance.approval_rows import approval_digest, state_at
from governance.models import ApprovalRequest, Tool
from governance.snapshot import Snapshot

State = ApprovalRequest.State
PAGE = 30
LOOKED_AT = 500
AGES = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}
LONGEST_SEARCH = 100


@dataclass(frozen=True, slots=True)
class Filters:
    """As typed; empty means any."""

    agent: str = ""
    tool: str = ""
    connector: str = ""
    age: str = ""
    state: str = ""
    q: str = ""

    @classmethod
    def of(cls, request: HttpRequest) -> "Filters":
        return cls(**{name: request.GET.get(name, "").strip()[:LONGEST_SEARCH] for name in cls.__slots__})

    def applied(self, rows: QuerySet[ApprovalRequest], now: datetime) -> QuerySet[ApprovalRequest]:
        exact = {name: getattr(self, name) for name in ("agent", "tool", "connector") if getattr(self, name)}
        rows = rows.filter(**exact)
        if self.age in AGES:
            rows = rows.filter(created_at__gte=now - AGES[self.age])
        return rows.filter(_found(self.q)) if self.q else rows

    @property
    def as_query(self) -> str:
        return urlencode({name: getattr(self, name) for name in self.__slots__ if getattr(self, name)})

    def __bool__(self) -> bool:
        return bool(self.as_query)


def _found(text: str) -> Q:
    number = text.upper().removeprefix("APR-")
    words = (
        Q(agent__icontains=text) | Q(tool__icontains=text) | Q(connector__icontains=text) | Q(person__icontains=text)
    )
    return words | Q(number=int(number)) if number.isascii() and number.isdigit() and len(number) < 19 else words


@dataclass(frozen=True, slots=True)
class Line:
    """`ticket` is what a checkbox sends: which request, in which state, and exactly which call."""

    row: ApprovalRequest
    sentence: Sentence
    tone: str
    state: str
    now: datetime
    ticket: str

    @property
    def reason(self) -> str:
        return visible(str(self.row.terms[0].get("reason", ""))) if self.row.terms else ""


@dataclass(frozen=True, slots=True)
class Group:
    """Lines that are alike and may be approved together."""

    title: str
    lines: tuple[Line, ...]


class Inbox(ApprovalsPage):
    """What waits for her. GET only reads."""

    template_name = "console/approvals/inbox.html"

    @cached_property
    def filters(self) -> Filters:
        return Filters.of(self.request)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        everything = waiting_for(self.person, self.snapshot, self.now)
        chosen = self.filters.applied(pending(self.now), self.now)[:LOOKED_AT] if self.filters else ()
        rows = waiting_for(self.person, self.snapshot, self.now, rows=chosen) if self.filters else everything
        is_busy = decides_much(self.person, self.now)
        groups, single = self._grouped(rows, may_bulk=not is_busy)
        return {
            "tab": "mine",
            "filters": self.filters,
            "choices": choices(everything),
            "keys": " ".join(str(row.key) for row in everything),
            "groups": groups,
            "lines": single,
            "total": len(everything),
            "shown": len(rows),
            "is_busy": is_busy,
            **super().get_context_data(**kwargs),
        }

    def _grouped(self, rows: Sequence[ApprovalRequest], *, may_bulk: bool) -> tuple[list[Group], list[Line]]:
        candidates = alike(rows, tools_of(rows)) if may_bulk else []
        told = ([row for row in group if self._is_told_whole(row)] for group in candidates)
        found = [group for group in told if len(group) >= FEWEST]
        grouped = {row.key for group in found for row in group}
        groups = [Group(self._title(group), tuple(lines_of(group, self.snapshot, self.now))) for group in found]
        return groups, list(lines_of([row for row in rows if row.key not in grouped], self.snapshot, self.now))

    def _is_told_whole(self, row: ApprovalRequest) -> bool:
        """In its line: nobody agrees to an argument that she was not shown."""
        return not sentence(row, arguments_of(row), self.snapshot).more

    def _title(self, group: Sequence[ApprovalRequest]) -> str:
        first = group[0]
        return (
            f"{len(group)} alike: {visible(first.tool)} on {visible(first.connector)}, asked by {visible(first.agent)}"
        )


class History(ApprovalsPage):
    """What she decided or asked for, and whatever else she may see of it."""

    template_name = "console/approvals/history.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        filters = Filters.of(self.request)
        rows = filters.applied(self._hers(), self.now)
        if filters.state in State.values:
            rows = rows.filter(state=filters.state)
        before = self.request.GET.get("before", "")
        if before.isascii() and before.isdigit() and len(before) < 19:
            rows = rows.filter(number__lt=int(before))
        found = list(rows.order_by("-number")[: PAGE + 1])
        older = found[PAGE - 1].number if len(found) > PAGE else None
        return {
            "tab": "history",
            "filters": filters,
            "choices": choices(found),
            "states": [(state.value, STATES[state][1]) for state in State],
            "lines": list(lines_of(found[:PAGE], self.snapshot, self.now)),
            "older": f"{filters.as_query}&before={older}".lstrip("&") if older else "",
            **super().get_context_data(**kwargs),
        }

    def _hers(self) -> QuerySet[ApprovalRequest]:
        if sees_all(self.person):
            return ApprovalRequest.objects.all()
        me = self.person.pk
        asked = Q(owner_id=me) | Q(person_id=me) | Q(asked_by_id=me)
        decided = ApprovalRequest.objects.filter(decisions__person_id=me).values("number")
        return ApprovalRequest.objects.filter(asked | Q(number__in=decided))


def tools_of(rows: Iterable[ApprovalRequest]) -> dict[str, Tool]:
    """By the id that requests name."""
    keys = {row.tool_id for row in rows if len(row.tool_id) in (32, 36)}
    found = {str(tool.pk): tool for tool in Tool.objects.select_related("connector").filter(pk__in=keys)}
    return found | {tool.pk.hex: tool for tool in found.values()}


def lines_of(rows: Sequence[ApprovalRequest], snapshot: Snapshot, now: datetime) -> Iterable[Line]:
    for row in rows:
        arguments = arguments_of(row)
        tone, state = STATES[State(state_at(row, now))]
        said = sentence(row, mask_for(arguments, snapshot)(arguments), snapshot)
        yield Line(row, said, tone, state, now, f"{row.key}:{row.revision}:{approval_digest(row).hex()}")


def choices(rows: Iterable[ApprovalRequest]) -> dict[str, list[str]]:
    """What can be filtered for among these."""
    found = list(rows)
    named = {"agent": {row.agent for row in found}, "tool": {row.tool for row in found}}
    return {
        name: sorted(values - {""}) for name, values in (named | {"connector": {r.connector for r in found}}).items()
    }


class InboxLive(ApprovalsPage):
    """What the WebSocket says, for a page whose socket is closed."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return JsonResponse(live.of_inbox(self.person, self.now))
