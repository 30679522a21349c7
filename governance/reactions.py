"""What the gateway does by itself when something happens, as declared beforehand: which reactions, and their verbs."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from governance.facts import Fact, Recorder
from governance.freezes import FreezeTarget, freeze
from governance.models import Agent, Freeze, Tool
from governance.models.reactions import Reaction as Row
from governance.registry import NotDecidable, quarantine
from governance.snapshot_values import Reaction

SECRET: Final = "secret"  # noqa: S105  (a kind of finding)
"""The finding of a key or a value of the vault, in what an agent sends or a system answers."""


def to_denials(reactions: Iterable[Reaction]) -> tuple[Reaction, ...]:
    return tuple(each for each in reactions if each.trigger == Row.Trigger.DENIALS)


def to_finding(reactions: Iterable[Reaction], finding: str) -> tuple[Reaction, ...]:
    return tuple(each for each in reactions if each.trigger == Row.Trigger.FINDING and finding in each.findings)


def by(reaction: str) -> str:
    """Who answers for what it does, in evidence."""
    return f"reaction:{reaction}"


def counts_from(reaction: Reaction, agent: Agent, *, now: datetime) -> datetime | None:
    """Since when denials count: its window, but not what led to the freeze before, nor what was refused while it
    lasted. None while the agent is frozen by it: once is enough."""
    begin = now - timedelta(minutes=reaction.minutes)
    last = Freeze.objects.filter(agent=agent, created_by=by(reaction.name)).order_by("-created_at").first()
    if last is None:
        return begin
    ended_at = min((end for end in (last.ends_at, last.lifted_at) if end is not None), default=None)
    if ended_at is None or ended_at > now:
        return None
    return max(begin, ended_at)


def freeze_agent(reaction: Reaction, agent: Agent, *, reason: str, record: Recorder, now: datetime) -> Freeze | None:
    """For the time the reaction says. None if it has done so already: of two processes at once the second waits for
    the first, and finds its freeze."""
    Agent.objects.select_for_update().get(pk=agent.pk)
    if counts_from(reaction, agent, now=now) is None:
        return None
    row = freeze(
        FreezeTarget(agent=agent.name),
        by=by(reaction.name),
        record=record,
        now=now,
        ends_at=now + timedelta(minutes=reaction.lasting_minutes),
        reason=reason,
    )
    record(fired(reaction.name, f"agent:{agent.name}", did="freeze_agent", why=reason, ends_at=row.ends_at))
    return row


def to_drift() -> Row | None:
    """Not from a snapshot: upstreams are asked outside of calls. One says as much as several."""
    return Row.objects.filter(trigger=Row.Trigger.DRIFT, is_enabled=True).order_by("name").first()


def quarantine_drifted(reaction: Row, tool: Tool, *, record: Recorder, now: datetime) -> bool:
    """Takes a tool whose definition has changed out of every agent's reach. False if it is already."""
    why = "Its definition changed at the upstream."
    try:
        quarantine(tool, reason=why, by=by(reaction.name), record=record, now=now)
    except NotDecidable:
        return False
    record(fired(reaction.name, f"tool:{tool}", did="quarantine_tool", why=why))
    return True


def fired(reaction: str, subject: str, *, did: str, why: str, ends_at: datetime | None = None) -> Fact:
    return Fact("reaction.fired", subject, {"reaction": reaction, "did": did, "why": why, "ends_at": ends_at})
