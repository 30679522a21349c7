"""Taking an offboarding back, within its days: for whoever was ended by mistake, or came back at once.

She gets what she was, and her agents as far as nobody has made something else of them. Nothing that proved anything
comes back: no key, token, session, second factor, authorization or password. She signs in by a one-time link.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from governance import offboarding_steps
from governance.facts import Fact, Recorder
from governance.models import Agent, Offboarding, Role, Team, User

State = Offboarding.State
FIRST_NAMES = 100


class CannotUndo(Exception):
    """The message says why."""


@dataclass(frozen=True, slots=True)
class Return:
    """What she gets back, by name; and what she does not, with why."""

    agents: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    duties: tuple[str, ...] = ()
    manager: str = ""
    stays: tuple[str, ...] = ()


def check(offboarding: Offboarding, *, acting: User | None, now: datetime) -> None:
    """`acting` is None for the command line, which holds all keys anyway. Raises CannotUndo."""
    if offboarding.state not in (State.ENFORCED, State.INCOMPLETE):
        raise CannotUndo(f"It cannot be undone: {offboarding.get_state_display().lower()}.")
    if offboarding.undo_until is None or offboarding.undo_until <= now:
        raise CannotUndo("The time in which it could be undone is over. Add her anew as she is to be now.")
    if offboarding.former.get("is_owner") and acting is not None and not acting.is_superuser:
        raise CannotUndo("She was an owner. Only an owner may undo this.")
    if User.objects.filter(id=offboarding.person_id, is_active=True).exists():
        raise CannotUndo("She is active again already; what she is missing is given to her by hand.")
    later = Offboarding.objects.filter(person_id=offboarding.person_id, created_at__gt=offboarding.created_at)
    if later.exclude(state__in=(State.CANCELLED, State.FAILED)).exists():
        raise CannotUndo("There is a newer offboarding of hers. Look at that one.")


def preview(offboarding: Offboarding, *, acting: User | None, now: datetime) -> Return:
    """What undoing would give back. Changes nothing. Raises CannotUndo."""
    check(offboarding, acting=acting, now=now)
    return _found(offboarding, acting)


def undo(offboarding: Offboarding, *, acting: User | None, by: str, record: Recorder, now: datetime) -> Return:
    """In the caller's governed transaction. Raises CannotUndo."""
    person = User.objects.select_for_update().get(id=offboarding.person_id)
    offboarding.refresh_from_db()
    check(offboarding, acting=acting, now=now)
    found, former = _found(offboarding, acting), offboarding.former
    moved = Offboarding.objects.filter(id=offboarding.id, state=offboarding.state).update(
        state=State.UNDONE, undone_at=now, undone_by=by
    )
    if not moved:
        raise CannotUndo("Somebody else was quicker.")
    rights = {"is_active": True, "is_staff": former["is_staff"] and bool(_rights(former, acting))}
    rights |= {"duties": list(found.duties), "manager": User.objects.filter(email=found.manager).first()}
    rights["is_superuser"] = bool(former["is_owner"]) and _may_raise(acting)
    User.objects.filter(id=person.id).update(**rights)
    person.teams.add(*Team.objects.filter(name__in=found.teams))
    person.roles.add(*Role.objects.filter(name__in=found.roles))
    _give_back(offboarding, person)
    voided = offboarding_steps.void_all(offboarding, "the offboarding was undone", by=by, now=now)
    record(Fact("offboarding.undone", f"person:{person.email}", _told(offboarding, found, voided)))
    offboarding.refresh_from_db()
    return found


def _found(offboarding: Offboarding, acting: User | None) -> Return:
    former = offboarding.former
    held = [(agent.name, bool(why), why) for agent, why in _agents(offboarding)]
    duties = _rights(former, acting)
    stays = [f"agent {name}: {why}" for name, is_kept, why in held if is_kept]
    if former["is_staff"] and not duties and not _may_raise(acting):
        stays.append("admin rights: only an owner gives them back")
    manager = User.objects.filter(id=former["manager"], is_active=True).first() if former["manager"] else None
    return Return(
        agents=tuple(name for name, is_kept, _ in held if not is_kept),
        teams=tuple(_names(Team.objects.filter(id__in=former["teams"]).values_list("name", flat=True))),
        roles=tuple(_names(Role.objects.filter(id__in=former["roles"]).values_list("name", flat=True))),
        duties=tuple(former["duties"]) if duties else (),
        manager=manager.email if manager else "",
        stays=tuple(stays),
    )


def _names(found: Iterable[str]) -> list[str]:
    return sorted(found)


def _may_raise(acting: User | None) -> bool:
    """Rights in the admin are given by owners only, here as on every form."""
    return acting is None or acting.is_superuser


def _rights(former: dict[str, Any], acting: User | None) -> bool:
    return _may_raise(acting) and bool(former["is_staff"] or former["duties"] or former["is_owner"])


def _agents(offboarding: Offboarding) -> list[tuple[Agent, str]]:
    """Each agent she had, and why it stays as it is now; empty where it comes back."""
    former = {agent_id: (status, heir) for agent_id, status, heir in offboarding.former["agents"]}
    rows = Agent.objects.filter(id__in=former).select_related("owner").order_by("name")
    return [(agent, _why_kept(agent, offboarding, *former[agent.pk.hex])) for agent in rows]


def _why_kept(agent: Agent, offboarding: Offboarding, status: str, heir: str) -> str:
    if agent.status == Agent.Status.RETIRED:
        return "it was retired meanwhile"
    expected = heir or offboarding.person.email
    if agent.owner.email != expected:
        return f"{agent.owner.email} has it now"
    return ""


def _give_back(offboarding: Offboarding, person: User) -> None:
    """Those that were passed on come back as they are; those that were suspended with her work again, without a key."""
    former = {agent_id: (status, heir) for agent_id, status, heir in offboarding.former["agents"]}
    back = [agent for agent, why in _agents(offboarding) if not why]
    passed = [agent.pk for agent in back if former[agent.pk.hex][1]]
    paused = [agent.pk for agent in back if not former[agent.pk.hex][1] and former[agent.pk.hex][0] == "live"]
    Agent.objects.filter(id__in=passed).update(owner=person)
    Agent.objects.filter(id__in=paused, status=Agent.Status.SUSPENDED).update(status=Agent.Status.LIVE)


def _told(offboarding: Offboarding, found: Return, voided: int) -> dict[str, Any]:
    return {
        "offboarding": str(offboarding.id),
        "agents": list(found.agents[:FIRST_NAMES]),
        "agents_in_all": len(found.agents),
        "teams": list(found.teams[:FIRST_NAMES]),
        "roles": list(found.roles[:FIRST_NAMES]),
        "duties": list(found.duties),
        "stays": list(found.stays[:FIRST_NAMES]),
        "steps_void": voided,
    }
