"""Rotation across rooms: what humans set off, planned or in an emergency, and the clock's look at what is due."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Exists, F, OuterRef, Q, QuerySet

from gateway import notices
from gateway.actions import act
from governance import emergency, rotation, rotation_watch
from governance.agent_keys import IssuedKey, Successor, issue_key, live
from governance.emergency import Found, Target
from governance.facts import Recorder
from governance.models import Agent, AgentCredential, RotationTask, Secret, User

CLOCK: Final = "system:rotation"
MOST_LOOKS: Final = 50
TOLD_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Cut:
    """What ended, and the only moment at which the new key exists."""

    found: Found
    at: datetime
    issued: IssuedKey | None = field(default=None, repr=False)


def in_emergency(target: Target, *, reason: str, by: str, issues_key: bool = False) -> Cut:
    """One transaction: when this returns, no process can start anything with what it found. With `issues_key` one agent
    goes on with a new key. Raises NoSuchTarget, NotIssuable."""
    return act(
        lambda record, now: cut(target, reason=reason, issues_key=issues_key, by=by, record=record, now=now), by=by
    )


def cut(target: Target, *, reason: str, issues_key: bool, by: str, record: Recorder, now: datetime) -> Cut:
    """As `in_emergency`, inside the caller's transaction."""
    found = emergency.cut(target, reason=reason, by=by, record=record, now=now)
    _tell(now)
    if not (issues_key and target.agent):
        return Cut(found, now)
    agent = Agent.objects.select_related("owner").get(name=target.agent)
    return Cut(found, now, issue_key(agent, by=by, record=record, now=now, expires_at=None))


def replace_keys(agent: Agent, *, by: str) -> list[IssuedKey]:
    """A successor for each key and client secret that has none; the old ones end after the overlap. Raises
    NotIssuable."""

    def work(record: Recorder, now: datetime) -> list[IssuedKey]:
        overlap = rotation.terms().overlap
        return [
            follow(agent, old, overlap=overlap, by=by, record=record, now=now)
            for old in replaceable(agent, now=now).order_by("created_at", "id")
        ]

    return act(work, by=by)


def replaceable(agent: Agent, *, now: datetime) -> QuerySet[AgentCredential]:
    """Its keys and client secrets that nothing takes the place of yet."""
    kinds = (AgentCredential.Kind.KEY, AgentCredential.Kind.CLIENT_SECRET)
    following = AgentCredential.objects.filter(live(now), successor_of=OuterRef("pk"))
    rows = AgentCredential.objects.filter(live(now), ~Exists(following), agent=agent, kind__in=kinds)
    return rows.select_related("person")


def follow(
    agent: Agent, old: AgentCredential, *, overlap: timedelta, by: str, record: Recorder, now: datetime
) -> IssuedKey:
    """It is like what it follows, and lives as long as that was to live. Raises NotIssuable."""
    return issue_key(
        agent,
        by=by,
        record=record,
        now=now,
        expires_at=now + (old.expires_at - old.created_at) if old.expires_at else None,
        person=old.person,
        label=old.label,
        kind=old.kind,
        follows=Successor(old, overlap),
    )


def ask(target: Target, *, note: str, by: str) -> int:
    """Nobody can push a key to whoever holds it: owners are asked, with the organization's days of warning. Returns how
    much was asked for. Raises NoSuchTarget."""

    def work(record: Recorder, now: datetime) -> int:
        found = emergency.find(target, now=now)
        asked: dict[str, Any] = {
            "reason": RotationTask.Reason.ASKED,
            "note": note,
            "due_at": now + rotation.terms().warn,
            "by": by,
            "record": record,
            "now": now,
        }
        keys = AgentCredential.objects.filter(live(now), agent__name__in=found.agents).select_related("agent__owner")
        for key in keys:
            rotation.ask_for(rotation.of_credential(key), owner=key.agent.owner, **asked)
        for secret in Secret.objects.filter(name__in=found.secrets):
            rotation.ask_for(rotation.of_secret(secret), **asked)
        return len(keys) + len(found.secrets)

    return act(work, by=by)


def watch() -> int:
    """Asks for what is due, ends what is to end, tells owners. Each transaction is short; what is left is found by the
    next look."""
    changed = 0
    for _ in range(MOST_LOOKS):
        found = act(lambda record, now: rotation_watch.look(by=CLOCK, record=record, now=now), by=CLOCK)
        changed += found
        if not found:
            break
    act(lambda _, now: _tell(now), by=CLOCK)
    return changed


def _tell(now: datetime) -> None:
    """Once when it is asked for, and once more when it is overdue."""
    overdue = Q(due_at__lte=now, told_at__lt=F("due_at"))
    untold = rotation.open_tasks().filter(Q(told_at=None) | overdue).select_related("owner")
    tasks = list(untold.order_by("due_at", "created_at")[:TOLD_AT_ONCE])
    by_owner: dict[User | None, list[RotationTask]] = defaultdict(list)
    for task in tasks:
        by_owner[task.owner if task.owner and task.owner.is_active else None].append(task)
    for owner, theirs in by_owner.items():
        notices.to_replace(theirs, owner=owner, now=now)
    RotationTask.objects.filter(pk__in=[task.pk for task in tasks]).update(told_at=now)
