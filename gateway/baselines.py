"""Learning what is usual for each agent, from the tallies of its evidence and the notes of where it sent something."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from django.db.models import Sum

from audit.models import CallTally
from gateway.actions import act
from gateway.models import SentTo
from gateway.sent_to import ANYWHERE, BEGUN
from governance.facts import Recorder
from governance.models import Agent, AgentBaseline

LEARNING: Final = timedelta(days=14)
WINDOW: Final = timedelta(days=30)
SETTLES: Final = timedelta(days=1)
"""Once it has learned, what is new becomes usual so much later: somebody had the time to stop it."""
MOST_TOOLS: Final = 2_000
PAGE: Final = 1_000
TOGETHER: Final = 200
NEVER_SENT: Final = ("", "refused")
"""Outcomes of what nobody carried out, because it was denied or waits for a human."""
NOWHERE: Final[dict[str, Any]] = {"destinations": [], "destinations_from": None}
"""Of an agent at whose destinations nobody has looked for a month."""


@dataclass(slots=True)
class Usual:
    tools: set[str] = field(default_factory=set)
    hours: set[int] = field(default_factory=set)
    busiest_hour: int = 0

    def columns(self) -> dict[str, Any]:
        tools = sorted(self.tools)[:MOST_TOOLS]
        return {"tools": tools, "hours": sorted(self.hours), "busiest_hour": self.busiest_hour}


def learn(now: datetime) -> int:
    """Of all live agents; how many baselines changed. Those that changed are kept in a few short transactions."""
    known = {row.agent_id: row for row in AgentBaseline.objects.select_related("agent")}
    live = Agent.objects.filter(status=Agent.Status.LIVE).order_by("name")
    rows = {each.name: known.get(each.pk) or _begun(each, now) for each in live}
    usual = {agent: _usual(rows[agent], tallies, now) for agent, tallies in _tallies(now) if agent in rows}
    sent = dict(_sent_to(rows.values(), now))
    columns = {agent: usual.get(agent, Usual()).columns() | sent.get(agent, NOWHERE) for agent in rows}
    changed = [agent for agent, row in rows.items() if not _is_as(row, columns[agent])]
    for start in range(0, len(changed), TOGETHER):
        _keep([(rows[agent], columns[agent]) for agent in changed[start : start + TOGETHER]], now)
    AgentBaseline.objects.filter(agent__name__in=rows.keys() - set(changed)).update(learned_at=now)
    return len(changed)


def _begun(agent: Agent, now: datetime) -> AgentBaseline:
    return AgentBaseline(agent=agent, since=now, learns_until=now + LEARNING)


def _tallies(now: datetime) -> Iterator[tuple[str, Iterator[tuple[Any, ...]]]]:
    """By agent, of each its hours in order."""
    carried_out = CallTally.objects.filter(hour__gte=now - WINDOW, hour__lt=now).exclude(outcome__in=NEVER_SENT)
    tallies = carried_out.values_list("agent", "hour", "connector", "tool").annotate(sent=Sum("calls"))
    return groupby(tallies.order_by("agent", "hour").iterator(PAGE), key=itemgetter(0))


def _usual(row: AgentBaseline, tallies: Iterator[tuple[Any, ...]], now: datetime) -> Usual:
    until = max(min(now, row.learns_until), now - SETTLES)
    usual = Usual()
    for hour, found in groupby(tallies, key=itemgetter(1)):
        if not row.since <= hour < until:
            continue
        calls = list(found)
        usual.tools.update(f"{connector}/{tool}" for _, _, connector, tool, _ in calls)
        usual.hours.add(hour.hour)
        usual.busiest_hour = max(usual.busiest_hour, sum(sent for *_, sent in calls))
    return usual


def _sent_to(rows: Iterable[AgentBaseline], now: datetime) -> Iterator[tuple[str, dict[str, Any]]]:
    """By agent, where it sends what; from when on that is known well enough is told by itself, because nobody looks
    before a rule asks."""
    agents = {row.agent_id: str(row.agent.name) for row in rows if not row._state.adding}
    told = SentTo.objects.filter(last_at__gte=now - WINDOW).order_by("agent_id", "digest")
    found = told.values_list("agent_id", "digest", "first_at")
    for agent_id, seen in groupby(found.iterator(PAGE), key=itemgetter(0)):
        first = {digest: at for _, digest, at in seen}
        if agent_id not in agents or BEGUN not in first:
            continue
        known_from = first.pop(BEGUN) + LEARNING
        until = max(min(now, known_from), now - SETTLES)
        usual = sorted(digest for digest, at in first.items() if at < until)
        destinations = [ANYWHERE] if ANYWHERE in usual else usual
        yield agents[agent_id], {"destinations": destinations, "destinations_from": known_from}


def _is_as(row: AgentBaseline, columns: dict[str, Any]) -> bool:
    return not row._state.adding and all(getattr(row, name) == told for name, told in columns.items())


def _keep(several: list[tuple[AgentBaseline, dict[str, Any]]], now: datetime) -> None:
    """Together: each change of what gateways decide by is news to all of them."""

    def work(record: Recorder, at: datetime) -> None:
        for row, columns in several:
            if row._state.adding:
                SentTo.objects.filter(agent_id=row.agent_id, first_at__lt=row.since).delete()
                first = {**columns, "since": row.since, "learns_until": row.learns_until, "learned_at": now}
                AgentBaseline.objects.get_or_create(agent=row.agent, defaults=first)
            else:
                AgentBaseline.objects.filter(pk=row.pk).update(**columns, learned_at=now)

    act(work, by="system:worker")
