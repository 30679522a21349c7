"""Agents as a directory describes them: who answers for them, and whether they are live.

What an agent may do is no directory's word: it arrives without a role, so it reaches nothing until somebody here gives
it one. Only a *change* of what the directory says about being active does something, as with people.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ValidationError

from governance.agent_keys import retire_agent
from governance.agents import resume_agent, suspend_agent, transfer_agent
from governance.directory_sync import NameTaken, Sync, folded, new_id
from governance.facts import Fact
from governance.models import Agent, DirectoryAgent, DirectoryUser, User


class UnknownOwner(Exception):
    """None of its owners is a live person that this directory brought."""


class UnusableName(Exception):
    """The message says what a name may be."""


class NameIsFixed(Exception):
    """Evidence and grants know the agent by it."""


@dataclass(frozen=True, slots=True)
class ToldAgent:
    """What a directory says of an agent, as far as anything here follows from it; `owners` are ids of its users."""

    user_name: str
    external_id: str = ""
    display_name: str = ""
    description: str = ""
    active: bool = True
    owners: tuple[str, ...] = ()
    body: dict[str, Any] = field(default_factory=dict)


def agent_arrives(told: ToldAgent, sync: Sync) -> DirectoryAgent:
    """Raises NameTaken, UnusableName or UnknownOwner."""
    if Agent.objects.filter(name=told.user_name).exists():
        raise NameTaken(told.user_name)
    agent = Agent(name=told.user_name, owner=_owner(told.owners, sync), **_described(told))
    agent.status = Agent.Status.LIVE if told.active else Agent.Status.SUSPENDED
    _check_name(agent)
    agent.save(force_insert=True)
    row = DirectoryAgent(id=new_id(sync.now), directory=sync.directory, agent=agent, created_at=sync.now)
    row.has_suspended = not told.active
    _say(row, told, sync)
    row.save(force_insert=True)
    details = {"directory": sync.directory.name, "owner": agent.owner.email}
    sync.record(Fact("directory.agent_added", f"agent:{agent.name}", details))
    sync.note("agent added", agent=agent.name, owner=agent.owner.email)
    return row


def agent_changes(row: DirectoryAgent, told: ToldAgent, sync: Sync) -> None:
    """Raises NameIsFixed or UnknownOwner."""
    if folded(told.user_name) != row.user_name_key:
        raise NameIsFixed
    was_active, had_owners, agent = row.active, row.body.get("owners"), row.agent
    row.version += 1
    _say(row, told, sync)
    sync.note("agent changed", agent=agent.name)
    _describe(agent, told)
    if told.body.get("owners") != had_owners:
        _hand_over(agent, _owner(told.owners, sync), sync)
    if was_active and not row.active:
        row.has_suspended = suspend_agent(agent, record=sync.record)
    elif row.active and not was_active and row.has_suspended and agent.owner.is_active:
        row.has_suspended = not resume_agent(agent, record=sync.record)
    row.save()


def agent_is_deleted(row: DirectoryAgent, sync: Sync) -> None:
    """Retired with its keys, for good; the row stays as a tombstone."""
    row.deleted_at = row.changed_at = sync.now
    row.active = False
    row.version += 1
    row.save()
    if row.agent.status != Agent.Status.RETIRED:
        retire_agent(row.agent, by=sync.by, record=sync.record, now=sync.now)
    sync.note("agent deleted", agent=row.agent.name)


def _say(row: DirectoryAgent, told: ToldAgent, sync: Sync) -> None:
    row.user_name, row.user_name_key = told.user_name, folded(told.user_name)
    row.external_id, row.display_name = told.external_id, told.display_name
    row.active, row.body, row.changed_at = told.active, told.body, sync.now


def _described(told: ToldAgent) -> dict[str, str]:
    return {"title": told.display_name[:200], "purpose": told.description}


def _describe(agent: Agent, told: ToldAgent) -> None:
    changed = {name: text for name, text in _described(told).items() if getattr(agent, name) != text}
    for name, text in changed.items():
        setattr(agent, name, text)
    if changed:
        agent.save(update_fields=list(changed))


def _hand_over(agent: Agent, owner: User, sync: Sync) -> None:
    """Its keys end: the former owner may have kept them."""
    if owner.id != agent.owner_id and agent.status != Agent.Status.RETIRED:
        transfer_agent(agent, to=owner, ends_keys=True, by=sync.by, record=sync.record, now=sync.now)
        agent.refresh_from_db()


def _owner(owners: Sequence[str], sync: Sync) -> User:
    """The first who is a live person of this directory answers for it here; the others stay the directory's word."""
    for value in owners:
        rows = DirectoryUser.objects.filter(directory=sync.directory, deleted_at=None, person__is_active=True)
        try:
            found = rows.select_related("person").filter(id=value).first()
        except ValidationError:
            continue
        if found is not None and found.person is not None:
            return found.person
    raise UnknownOwner


def _check_name(agent: Agent) -> None:
    try:
        agent.clean_fields(exclude=("owner",))
    except ValidationError as error:
        raise UnusableName("; ".join(error.messages)) from None
