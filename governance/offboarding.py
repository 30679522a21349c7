"""Ending a person: everything that hangs on her, found first, then ended in one transaction."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from governance.agent_keys import revoke_all_keys
from governance.facts import Fact, Recorder
from governance.models import Agent, User


class CannotOffboard(Exception):
    """The message says why, e.g. the last owner."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that hangs on the person and what becomes of it. `todo` is what a human must still do."""

    kind: str
    name: str
    action: str
    todo: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def preview(person: User, *, successor: User | None) -> list[Item]:
    """What offboarding would do, in order. Changes nothing. Raises CannotOffboard."""
    _check(person, successor)
    return list(_items(person, successor))


def offboard(person: User, *, successor: User | None, by: str, record: Recorder, now: datetime) -> list[Item]:
    """Does it, inside the caller's one transaction: when that commits, nothing of hers can start a call.

    Agents pass to the successor, else are suspended; either way their keys end, because she may have kept them.
    """
    User.objects.select_for_update().get(id=person.id)
    items = preview(person, successor=successor)
    for agent in _agents(person):
        revoke_all_keys(agent, by=by, record=record, now=now)
    live = _agents(person).filter(status=Agent.Status.LIVE)
    if successor is None:
        live.update(status=Agent.Status.SUSPENDED)
    else:
        _agents(person).exclude(status=Agent.Status.RETIRED).update(owner=successor)
    person.teams.clear()
    person.roles.clear()
    User.objects.filter(id=person.id).update(
        is_active=False, is_staff=False, is_superuser=False, duties=[], manager=None
    )
    record(Fact("person.offboarded", f"person:{person.email}", {"items": [item.as_json() for item in items]}))
    return items


def _check(person: User, successor: User | None) -> None:
    if successor is not None and (successor.id == person.id or not successor.is_active):
        raise CannotOffboard("The successor must be another, active person.")
    others = User.objects.filter(is_superuser=True, is_active=True).exclude(id=person.id)
    if person.is_superuser and person.is_active and not others.exists():
        raise CannotOffboard(f"{person.email} is the last owner; make another one first (create_owner).")


def _items(person: User, successor: User | None) -> Iterator[Item]:
    yield Item("person", person.email, "deactivated; all sign-ins and sessions end")
    for agent in _agents(person):
        yield _agent_item(agent, successor)
        for key in agent.credentials.filter(revoked_at=None):
            yield Item("agent key", f"{key.hint}… of {agent.name}", "revoked")
    for team in person.teams.all():
        yield Item("team membership", team.name, "removed")
    for role in person.roles.all():
        yield Item("role", role.name, "removed")
    if person.is_superuser or person.is_staff or person.duties:
        yield Item("admin rights", ", ".join(person.duties) or "admin access", "removed")
    for report in person.reports.all():
        yield Item("report", report.email, "keeps this manager in name only", "choose another manager")


def _agent_item(agent: Agent, successor: User | None) -> Item:
    if agent.status == Agent.Status.RETIRED:
        return Item("agent", agent.name, "was retired before")
    if successor is None:
        return Item("agent", agent.name, "suspended", "choose an owner and issue a new key, or retire it")
    return Item("agent", agent.name, f"passed to {successor.email}", "issue a new key: the old ones ended")


def _agents(person: User) -> Any:
    return Agent.objects.filter(owner=person)
