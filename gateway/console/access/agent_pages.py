"""One agent: what it is, what it may and why, what it did, and how a client is set up for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, F, OuterRef, QuerySet
from django.shortcuts import get_object_or_404

from gateway.client_setup import Endpoint, clients, endpoint_of
from gateway.console.access.moments import Moment
from gateway.console.access.recent import last_day, lately
from gateway.console.pages import GovernedPage
from gateway.console.taken import TakenPage
from gateway.explain import when
from gateway.reach import effective
from gateway.reach.current import current_snapshot
from gateway.reach.details import COLUMNS as DETAILS
from gateway.reach.verdicts import View
from governance import rotation, rotation_watch
from governance.agent_keys import live
from governance.freezes import in_force
from governance.models import Agent, AgentCredential, Freeze
from governance.snapshot import Agent as KnownAgent
from governance.snapshot import Snapshot

LINES_SHOWN = 25
LINES_A_PAGE = 50
KEYS_SHOWN = 50
REPLACEABLE = (AgentCredential.Kind.KEY, AgentCredential.Kind.CLIENT_SECRET)
TONES: dict[str, str] = {Agent.Status.LIVE: "good", Agent.Status.SUSPENDED: "warn", Agent.Status.RETIRED: "bad"}


@dataclass(frozen=True, slots=True)
class KeyLine:
    """`remark` is what is to be done about it, if anything."""

    key: AgentCredential
    state: str
    tone: str
    age_days: int
    used_at: datetime | None
    remark: str
    is_replaceable: bool

    @property
    def name(self) -> str:
        return f"{self.key.hint}…" if self.key.digest else self.key.hint


class AgentPage(GovernedPage):
    """A page about the agent that its address names."""

    permission = "governance.view_agent"

    @cached_property
    def agent(self) -> Agent:
        return get_object_or_404(Agent.objects.select_related("owner"), pk=self.kwargs["agent_id"])

    @cached_property
    def now(self) -> datetime:
        return datetime.now(UTC)

    @cached_property
    def snapshot(self) -> Snapshot:
        return current_snapshot()

    @property
    def known(self) -> KnownAgent:
        return self.snapshot.agents[self.agent.pk.hex]

    def live_keys(self) -> QuerySet[AgentCredential]:
        return self.agent.credentials.filter(live(self.now))

    def freezes(self) -> QuerySet[Freeze]:
        """In force, and for this agent alone."""
        return self.agent.freezes.filter(in_force(self.now))

    def endpoints(self) -> list[Endpoint]:
        bundles = effective.bundles_of(self.known, self.snapshot)
        return [endpoint_of(settings.PUBLIC_URL, bundle.name) for bundle in bundles] + [
            endpoint_of(settings.PUBLIC_URL)
        ]

    def endpoint(self, name: str | None) -> Endpoint:
        """The one that was asked for, else the only bundle's, else the union."""
        endpoints = self.endpoints()
        likely = endpoints[0] if len(endpoints) == 2 else endpoints[-1]
        return next((endpoint for endpoint in endpoints if endpoint.name == name), likely)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {"agent": self.agent, **super().get_context_data(**kwargs)}


class Overview(AgentPage):
    template_name = "console/access/overview.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        may = self.request.user.has_perm
        recently = lately(self.agent.name)
        total = effective.count_lines(self.known, self.snapshot)
        shown = effective.lines(self.known, View(self.snapshot, self.now), count=LINES_SHOWN)
        return {
            **super().get_context_data(**kwargs),
            "title": self.agent.title or self.agent.name,
            "agent_tone": TONES[self.agent.status],
            "freezes": self.freezes(),
            "roles": [(role, when(role)) for role in self.snapshot.roles_of(self.known)],
            "keys": self._keys(recently.key_uses) if may("governance.view_agentcredential") else None,
            "key_count": self.agent.credentials.count(),
            "endpoints": self.endpoints(),
            "lines": shown if may("governance.explain_agent") else None,
            "line_count": total,
            "calls": recently.calls if may("audit.view_eventrow") else None,
            "day": last_day(self.agent.name, now=self.now) if may("audit.view_calltally") else None,
            "is_retired": self.agent.status == Agent.Status.RETIRED,
        }

    def _keys(self, uses: dict[str, datetime]) -> list[KeyLine]:
        """The live ones before the others, each by age."""
        following = AgentCredential.objects.filter(live(self.now), successor_of=OuterRef("pk"))
        rows = self.agent.credentials.select_related("use").annotate(is_replaced=Exists(following))
        ordered = rows.order_by(F("revoked_at").desc(nulls_first=True), "-created_at")
        unused = set(rotation_watch.unused(self.live_keys(), self.terms, now=self.now).values_list("pk", flat=True))
        return [self._key_line(key, uses.get(key.pk.hex), unused) for key in ordered[:KEYS_SHOWN]]

    @cached_property
    def terms(self) -> rotation.Terms:
        return rotation.terms()

    def _key_line(self, key: Any, used_at: datetime | None, unused: set[UUID]) -> KeyLine:
        state, tone = "live", "good"
        if key.revoked_at:
            state, tone = "revoked", "bad"
        elif key.expires_at and key.expires_at <= self.now:
            state, tone = "expired", "warn"
        elif key.is_replaced:
            state, tone = "being replaced", "info"
        use = getattr(key, "use", None)
        remark = self._remark(key, is_unused=key.pk in unused) if state == "live" else ""
        return KeyLine(
            key,
            state,
            tone,
            (self.now - key.created_at).days,
            max(filter(None, (used_at, use and use.last_used_at)), default=None),
            remark,
            state == "live" and key.kind in REPLACEABLE,
        )

    def _remark(self, key: AgentCredential, *, is_unused: bool) -> str:
        due_at = self.terms.due_at(key.created_at, key.expires_at)
        if due_at is not None and due_at <= self.now:
            return "overdue"
        if due_at is not None and due_at - self.terms.warn <= self.now:
            return f"due {due_at:%Y-%m-%d}"
        return "unused" if is_unused else ""


class ReachOfAgent(TakenPage, AgentPage):
    """All that the agent reaches, and why."""

    permission = "governance.explain_agent"
    template_name = "console/access/reach.html"
    taken_as = "agent-reach"
    columns = (
        "agent",
        "connector",
        "tool",
        "verdict",
        "not now",
        "writes",
        "risk",
        "bundle",
        "roles",
        "rules",
        *DETAILS,
    )

    @cached_property
    def moment(self) -> Moment:
        return Moment.of(self.request, self.snapshot)

    def lines(self) -> Iterator[tuple[str, ...]]:
        """A page at a time, so that a first line does not wait for the last."""
        for start in range(0, effective.count_lines(self.known, self.snapshot), LINES_A_PAGE):
            for line in effective.lines(self.known, self.moment.view, start=start, count=LINES_A_PAGE):
                yield _as_text(self.agent.name, line)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        total = effective.count_lines(self.known, self.snapshot)
        number = page_number(self.request.GET.get("page"), total=total, size=LINES_A_PAGE)
        start = (number - 1) * LINES_A_PAGE
        return {
            **super().get_context_data(**kwargs),
            "title": f"What {self.agent.name} reaches",
            "lines": effective.lines(self.known, self.moment.view, start=start, count=LINES_A_PAGE),
            "line_count": total,
            "moment": self.moment,
            "page": number,
            "pages": page_count(total, LINES_A_PAGE),
        }


def _as_text(agent: str, line: effective.Line) -> tuple[str, ...]:
    return (
        agent,
        line.tool.connector.name,
        line.tool.name,
        line.verdict.words,
        line.now,
        "yes" if line.writes else "no",
        line.risk,
        f"{line.bundle.name} v{line.bundle.number}",
        ", ".join(through.role for through in line.through),
        "; ".join(f"{rule.effect} {rule.policy} v{rule.version}" for rule in line.rules),
        *line.detail.columns,
    )


class SetUp(AgentPage):
    """Texts to paste, without a key: that is only ever shown in the answer that issues it."""

    template_name = "console/access/setup.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        endpoint = self.endpoint(self.request.GET.get("endpoint"))
        return {
            **super().get_context_data(**kwargs),
            "title": f"Set up a client for {self.agent.name}",
            "endpoint": endpoint,
            "endpoints": self.endpoints(),
            "clients": clients(endpoint),
            "has_keys": self.live_keys().exists(),
        }


def page_count(total: int, size: int) -> int:
    return max(1, -(-total // size))


def page_number(text: str | None, *, total: int, size: int) -> int:
    """Within what there is, whatever the address says."""
    wanted = int(text) if text and text.isascii() and text.isdigit() and len(text) < 9 else 1
    return min(max(wanted, 1), page_count(total, size))
