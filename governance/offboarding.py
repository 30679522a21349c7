"""Ending a person: everything that hangs on her, found first, then ended in one transaction.

All by sets: a person with hundreds of agents and thousands of keys costs as many statements as one with none.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, Protocol

import orjson
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now

from governance import grants
from governance.approval_endings import live_of_person, void_of_person
from governance.facts import Fact, Recorder
from governance.models import (
    Agent,
    AgentCredential,
    Freeze,
    Offboarding,
    OnCallShift,
    PersonalToken,
    Rule,
    Team,
    User,
)
from governance.people import may_change_person
from governance.personal_tokens import revoke_all_tokens

PERMISSION = "governance.offboard_user"
FIRST_ITEMS = 20
"""How many items evidence tells in full; the digest binds the rest."""
FIRST_AGENTS = 200
KEY = "agent key"
TOKEN = "personal token"  # noqa: S105 - what it is called


class CannotOffboard(Exception):
    """The message says why, e.g. the last owner, and the way out."""


class FindingsChanged(CannotOffboard):
    """Something began or ceased to hang on her since whoever asks has looked."""


class UnderWay(CannotOffboard):
    """Somebody else began or planned it already."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that hangs on the person and what becomes of it. `todo` is what a human must still do."""

    kind: str
    name: str
    action: str
    todo: str = ""
    id: str = ""

    def as_json(self) -> dict[str, str]:
        return {"kind": self.kind, "name": self.name, "action": self.action, "todo": self.todo, "id": self.id}

    @property
    def mark(self) -> str:
        """Tells this finding from others, whatever is planned for it."""
        return hashlib.sha256(orjson.dumps([self.kind, self.id or self.name])).hexdigest()[:10]


@dataclass(frozen=True, slots=True)
class Plan:
    """Who gets which agent: name -> e-mail, "" suspends it. `otherwise` is for all that are not named."""

    otherwise: str = ""
    agents: Mapping[str, str] = field(default_factory=dict)

    def successor_of(self, agent: str) -> str:
        return self.agents.get(agent, self.otherwise)

    @property
    def successors(self) -> set[str]:
        return {email for email in (self.otherwise, *self.agents.values()) if email}

    def without(self, emails: Iterable[str]) -> "Plan":
        """The same, but suspending what these people would have got."""
        gone = set(emails)
        kept = {agent: "" if email in gone else email for agent, email in self.agents.items()}
        return Plan("" if self.otherwise in gone else self.otherwise, kept)

    def as_json(self) -> dict[str, Any]:
        return {"otherwise": self.otherwise, "agents": dict(self.agents)}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Plan":
        return cls(str(kept.get("otherwise", "")), dict(kept.get("agents", {})))


class Ender(Protocol):
    """Finds and ends what hangs on a person outside this room; `end` runs in the offboarding's transaction."""

    def find(self, person: User) -> Iterable[Item]: ...

    def end(self, person: User) -> None: ...


def may_offboard(acting: User, person: User) -> bool:
    """Owners are ended by owners only."""
    return acting.is_active and acting.has_perm(PERMISSION) and may_change_person(acting, person)


def preview(person: User, *, plan: Plan, enders: Sequence[Ender] = ()) -> list[Item]:
    """What offboarding would do, in order. Changes nothing. Raises CannotOffboard."""
    check(person, plan)
    return findings(person, plan=plan, enders=enders)


def check(person: User, plan: Plan) -> None:
    """Raises CannotOffboard."""
    if unfit := _unfit(person, plan):
        raise CannotOffboard(f"The successor must be another, active person, unlike {', '.join(unfit)}.")
    if person.is_superuser and person.is_active and not _other_owners(person).exists():
        raise CannotOffboard(f"{person.email} is the last owner; make another one first (create_owner).")


def findings(person: User, *, plan: Plan, enders: Sequence[Ender] = ()) -> list[Item]:
    """As preview, also for somebody who cannot be offboarded as things are."""
    elsewhere = chain.from_iterable(ender.find(person) for ender in enders)
    hers = (*_agents_and_keys(person, plan), *_belongings(person), *_word_of_hers(person))
    return [*_sign_in(person), *elsewhere, *hers, *_left_to_do(person)]


def findings_digest(items: Iterable[Item]) -> str:
    """Binds a click to what was seen; the plan may still change."""
    return hashlib.sha256("".join(sorted(item.mark for item in items)).encode()).hexdigest()


def counts(items: Iterable[Item]) -> dict[str, int]:
    return dict(Counter(item.kind for item in items))


def begin(
    person: User,
    *,
    plan: Plan,
    by: str,
    record: Recorder,
    now: datetime,
    enders: Sequence[Ender] = (),
    expected: str = "",
) -> Offboarding:
    """Ends her, inside the caller's one transaction: when that commits, nothing of hers can start a call.

    Agents pass to successors, else are suspended; either way their keys end, because she may have kept them. A
    scheduled offboarding of hers is taken over. `expected` is the findings' digest that whoever asks has seen.
    Raises CannotOffboard.
    """
    person = _locked(person, plan)
    items = preview(person, plan=plan, enders=enders)
    if expected and findings_digest(items) != expected:
        raise FindingsChanged("Something changed since you looked. Nothing was done yet.")
    offboarding = _opened(person, plan, by=by, now=now)
    _withdraw(person, plan, by=by, record=record, now=now)
    for ender in enders:
        ender.end(person)
    _enforcing(offboarding, items, now=now)
    record(Fact("person.offboarded", f"person:{person.email}", _told(offboarding, plan, items)))
    return offboarding


def schedule(person: User, *, plan: Plan, due_at: datetime, by: str, record: Recorder, now: datetime) -> Offboarding:
    """Raises CannotOffboard."""
    if due_at <= now:
        raise CannotOffboard("That time is over. Choose a later one, or none to do it now.")
    check(_locked(person, plan), plan)
    offboarding = _created(Offboarding(person=person, plan=plan.as_json(), due_at=due_at, created_by=by))
    told = {"offboarding": str(offboarding.id), "due_at": due_at, "plan": _first_agents(plan)}
    record(Fact("offboarding.scheduled", f"person:{person.email}", told))
    return offboarding


def cancel(offboarding: Offboarding, *, record: Recorder, now: datetime) -> bool:
    """False if it was not waiting any more."""
    if not _move(offboarding, Offboarding.State.SCHEDULED, Offboarding.State.CANCELLED, finished_at=now):
        return False
    record(Fact("offboarding.cancelled", f"person:{offboarding.person.email}", {"offboarding": str(offboarding.id)}))
    return True


def fail(offboarding: Offboarding, problem: str, *, record: Recorder, now: datetime) -> bool:
    """A scheduled one that could not be carried out: she still works here, and a human must look."""
    changes = {"finished_at": now, "problem": problem[:500]}
    if not _move(offboarding, Offboarding.State.SCHEDULED, Offboarding.State.FAILED, **changes):
        return False
    told = {"offboarding": str(offboarding.id), "problem": problem}
    record(Fact("offboarding.failed", f"person:{offboarding.person.email}", told))
    return True


def scheduler_may(offboarding: Offboarding) -> bool:
    """Whether who planned it may still do it. The command line, which holds all keys anyway, may."""
    kind, _, email = offboarding.created_by.partition(":")
    acting = User.objects.filter(email__iexact=email).first() if kind == "person" else None
    return kind == "command" if acting is None else may_offboard(acting, offboarding.person)


def plan_as_of_now(offboarding: Offboarding) -> Plan:
    """Successors who have left since must not keep her in: what they would have got is suspended."""
    plan = Plan.from_json(offboarding.plan)
    return plan.without(_unfit(offboarding.person, plan))


def still_live(items: Iterable[Mapping[str, Any]], *, live_key_ids: Iterable[str]) -> list[str]:
    """What of the ended keys and tokens could still be used; must be nothing.

    `live_key_ids` is what the gateways' snapshot admits; the tables are asked as well.
    """
    keys = {item["id"]: item["name"] for item in items if item["kind"] in (KEY, TOKEN)}
    stored = AgentCredential.objects.filter(revoked_at=None).values_list("id", flat=True)
    tokens = PersonalToken.objects.filter(revoked_at=None).values_list("id", flat=True)
    live = {*live_key_ids, *(key.hex for key in stored.iterator()), *(token.hex for token in tokens)}
    return [name for key, name in keys.items() if key in live]


# -- what is in the way


def _unfit(person: User, plan: Plan) -> list[str]:
    wanted = plan.successors
    fit = User.objects.filter(email__in=wanted, is_active=True).exclude(id=person.id)
    return sorted(wanted - set(fit.values_list("email", flat=True))) if wanted else []


def _other_owners(person: User) -> QuerySet[User]:
    return User.objects.filter(is_superuser=True, is_active=True).exclude(id=person.id)


def _locked(person: User, plan: Plan) -> User:
    """All whose leaving would spoil this, in one order, so that two leave one after the other; then her agents.

    Whoever issues a key locks the agent, too: no key appears behind our back.
    """
    involved = Q(id=person.id) | Q(email__in=plan.successors)
    if person.is_superuser:
        involved |= Q(is_superuser=True)
    people = {row.id: row for row in User.objects.select_for_update().filter(involved).order_by("id")}
    list(_agents(person).select_for_update().order_by("id").values_list("id", flat=True))
    return people[person.id]


# -- what hangs on her


def _sign_in(person: User) -> Iterator[Item]:
    yield Item("person", person.email, "deactivated; all sign-ins and sessions end", id=person.id.hex)
    live = PersonalToken.objects.filter(person=person, revoked_at=None).order_by("name")
    for token_id, name, hint in live.values_list("id", "name", "hint"):
        yield Item(TOKEN, f"{name} ({hint}…)", "revoked", id=token_id.hex)


def _agents_and_keys(person: User, plan: Plan) -> Iterator[Item]:
    keys = _keys(person).order_by("agent__name", "created_at")
    held: dict[str, list[Item]] = {}
    for key_id, hint, agent in keys.values_list("id", "hint", "agent__name"):
        held.setdefault(agent, []).append(Item(KEY, f"{hint}… of {agent}", "revoked", id=key_id.hex))
    for agent_id, name, status in _agents(person).values_list("id", "name", "status"):
        yield Item("agent", name, *_fate(status, plan.successor_of(name)), id=agent_id.hex)
        yield from held.pop(name, ())
    yield from chain.from_iterable(held.values())


def _fate(status: str, successor: str) -> tuple[str, str]:
    """What happens to an agent, and what is left to do."""
    if status == Agent.Status.RETIRED:
        return "was retired before", ""
    if not successor:
        return "suspended", "choose an owner and issue a new key, or retire it"
    return f"passed to {successor}", "issue a new key: the old ones ended"


def _belongings(person: User) -> Iterator[Item]:
    orphaned = _teams_left_without_approver(person)
    for team_id, name in person.teams.order_by("name").values_list("id", "name"):
        todo = "rules ask this team, and nobody is left in it: add somebody" if name in orphaned else ""
        yield Item("team membership", name, "removed", todo, id=team_id.hex)
    for role_id, name in person.roles.order_by("name").values_list("id", "name"):
        yield Item("role", name, "removed", id=role_id.hex)
    if person.is_superuser or person.is_staff or person.duties:
        duties = [*(["owner"] if person.is_superuser else []), *person.duties]
        yield Item("admin rights", ", ".join(duties) or "admin access", "removed")


def _word_of_hers(person: User) -> Iterator[Item]:
    """What she asked for, what rests on her agreement, and the times at which she would be asked."""
    for request in live_of_person(person):
        about = f"{request.name} of {request.agent or request.person}"
        yield Item("approval request", about, "ended; the call may be asked for again", id=request.key.hex)
    for grant in grants.live_of_person(person):
        yield Item("grant", f"{grant} for {grant.agent or grant.person}", "revoked", id=grant.pk.hex)
    for shift in _shifts(person):
        name = f"{shift.team.name} from {shift.starts_at:%Y-%m-%d %H:%M} UTC"
        yield Item("on-call shift", name, "removed", "put somebody else on call", id=shift.pk.hex)


def _left_to_do(person: User) -> Iterator[Item]:
    for report_id, email in person.reports.filter(is_active=True).order_by("email").values_list("id", "email"):
        yield Item("report", email, "keeps this manager in name only", "choose another manager", id=report_id.hex)
    waiting = Offboarding.objects.filter(state=Offboarding.State.SCHEDULED).exclude(person=person)
    for offboarding in waiting.select_related("person").defer("items", "receipt"):
        if person.email in Plan.from_json(offboarding.plan).successors:
            todo = "choose another successor, or those agents will be suspended"
            name = f"of {offboarding.person.email}"
            yield Item("successor in an offboarding", name, "falls away", todo, id=offboarding.id.hex)
    hers = Freeze.objects.filter(created_by=f"person:{person.email}", lifted_at=None)
    for freeze in hers.select_related("agent", "connector", "tool__connector"):
        yield Item("freeze", freeze.target, "stays in force", "lift it when it is no longer needed", id=freeze.id.hex)


def _teams_left_without_approver(person: User) -> set[str]:
    alone = person.teams.annotate(active=Count("members", filter=Q(members__is_active=True))).filter(active__lte=1)
    names = set(Team.objects.filter(id__in=alone.values("id")).values_list("name", flat=True))
    if not names:
        return set()
    asking = Rule.objects.filter(effect=Rule.Effect.ASK, version__state="published")
    return names & {approvers.get("team") for approvers in asking.values_list("approvers", flat=True)}


def _agents(person: User) -> QuerySet[Agent]:
    return Agent.objects.filter(owner=person).order_by("name")


def _keys(person: User) -> QuerySet[AgentCredential]:
    """Of her agents, and those with which others' agents act for her."""
    return AgentCredential.objects.filter(Q(agent__owner=person) | Q(person=person), revoked_at=None)


def _shifts(person: User) -> QuerySet[OnCallShift]:
    """Those that are not over."""
    still = OnCallShift.objects.filter(person=person, ends_at__gt=Now())
    return still.select_related("team").order_by("starts_at")


# -- doing it


def _withdraw(person: User, plan: Plan, *, by: str, record: Recorder, now: datetime) -> None:
    _keys(person).update(revoked_at=now, revoked_by=by)
    revoke_all_tokens(person, by=by, record=record, now=now)
    void_of_person(person, f"{person.email} was offboarded", record=record, now=now)
    grants.revoke_of_person(person, by=by, record=record, now=now)
    _shifts(person).delete()
    _hand_over(person, plan)
    person.teams.clear()
    person.roles.clear()
    User.objects.filter(id=person.id).update(
        is_active=False, is_staff=False, is_superuser=False, duties=[], manager=None, password=make_password(None)
    )


def _hand_over(person: User, plan: Plan) -> None:
    """One statement for each successor, and one for those that nobody gets."""
    heirs = dict(User.objects.filter(email__in=plan.successors).values_list("email", "id"))
    given: dict[str, list[Any]] = {}
    for agent_id, name in _agents(person).exclude(status=Agent.Status.RETIRED).values_list("id", "name"):
        given.setdefault(plan.successor_of(name), []).append(agent_id)
    Agent.objects.filter(id__in=given.pop("", ()), status=Agent.Status.LIVE).update(status=Agent.Status.SUSPENDED)
    for email, agent_ids in given.items():
        Agent.objects.filter(id__in=agent_ids).update(owner=heirs[email])


def _opened(person: User, plan: Plan, *, by: str, now: datetime) -> Offboarding:
    """The scheduled one, or a new one; a constraint lets a person have one at a time. Still to be moved on."""
    waiting = Offboarding.objects.filter(person=person, state=Offboarding.State.SCHEDULED).first()
    if waiting is not None:
        Offboarding.objects.filter(id=waiting.id).update(plan=plan.as_json(), created_by=by)
        return waiting
    return _created(Offboarding(person=person, plan=plan.as_json(), due_at=now, created_by=by))


def _created(offboarding: Offboarding) -> Offboarding:
    try:
        with transaction.atomic():
            offboarding.save(force_insert=True)
    except IntegrityError:
        raise UnderWay(f"{offboarding.person.email} is being offboarded already, or it is planned.") from None
    return offboarding


def _enforcing(offboarding: Offboarding, items: list[Item], *, now: datetime) -> None:
    kept = [item.as_json() for item in items]
    if not _move(offboarding, Offboarding.State.SCHEDULED, Offboarding.State.ENFORCING, items=kept, withdrawn_at=now):
        raise UnderWay("This offboarding was cancelled or begun by somebody else.")
    offboarding.refresh_from_db()


def _move(offboarding: Offboarding, before: str, after: str, **changes: Any) -> bool:
    return bool(Offboarding.objects.filter(id=offboarding.id, state=before).update(state=after, **changes))


def _told(offboarding: Offboarding, plan: Plan, items: list[Item]) -> dict[str, Any]:
    """Bounded, whatever she owned: every row's own change is evidence beside it."""
    return {
        "offboarding": str(offboarding.id),
        "plan": _first_agents(plan),
        "counts": counts(items),
        "items": [item.as_json() for item in items[:FIRST_ITEMS]],
        "items_in_all": len(items),
        "items_sha256": hashlib.sha256(orjson.dumps(items)).hexdigest(),
    }


def _first_agents(plan: Plan) -> dict[str, Any]:
    return Plan(plan.otherwise, dict(list(plan.agents.items())[:FIRST_AGENTS])).as_json()
