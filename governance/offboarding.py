"""Ending a person: everything that hangs on her, found first, then ended in one transaction.

All by sets: a person with hundreds of agents and thousands of keys costs as many statements as one with none.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from governance import grants
from governance.approval_endings import escalate_of_person, void_of_person
from governance.facts import Fact, Recorder
from governance.models import Agent, AgentCredential, Authorization, Offboarding, OffboardingStep, PersonalToken, User
from governance.offboarding_findings import (
    AUTHORIZATION,
    KEY,
    PROVE,
    TOKEN,
    Ender,
    Item,
    Plan,
    agents_of,
    counts,
    findings,
    findings_digest,
    keys_of,
    shifts_of,
)
from governance.people import may_change_person
from governance.personal_tokens import revoke_all_tokens

__all__ = ("KEY", "TOKEN", "Ender", "Item", "Plan", "counts", "findings", "findings_digest")

CREDENTIALS = (KEY, TOKEN, AUTHORIZATION)
"""What is tried afterwards."""
PERMISSION = "governance.offboard_user"
FIRST_ITEMS = 20
"""How many items evidence tells in full; the digest binds the rest."""
FIRST_AGENTS = 200
ASKED_AT_ONCE = 5_000


class CannotOffboard(Exception):
    """The message says why, e.g. the last owner, and the way out."""


class FindingsChanged(CannotOffboard):
    """Something began or ceased to hang on her since whoever asks has looked."""


class UnderWay(CannotOffboard):
    """Somebody else began or planned it already."""


def may_offboard(acting: User, person: User) -> bool:
    """Owners are ended by owners only."""
    return acting.is_active and acting.has_perm(PERMISSION) and may_change_person(acting, person)


def may_cancel(acting: User, offboarding: Offboarding) -> bool:
    """Nobody keeps herself in, and whoever may not end an owner does not keep one in either."""
    return acting.pk != offboarding.person_id and may_offboard(acting, offboarding.person)


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


def begin(
    person: User,
    *,
    plan: Plan,
    by: str,
    record: Recorder,
    now: datetime,
    enders: Sequence[Ender] = (),
    expected: str = "",
    reason: str = "",
    undo_until: datetime | None = None,
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
    offboarding = _opened(person, plan, by=by, reason=reason, now=now)
    former = _former(person, plan)
    for ender in enders:
        ender.end(person, by=by, record=record, now=now)
    _withdraw(person, plan, by=by, record=record, now=now)
    _enforcing(offboarding, items, former=former, undo_until=undo_until, now=now)
    _leave_steps(offboarding, items, now=now)
    record(Fact("person.offboarded", f"person:{person.email}", _told(offboarding, plan, items)))
    return offboarding


def begin_unless_done(
    person: User,
    *,
    by: str,
    reason: str,
    record: Recorder,
    now: datetime,
    enders: Sequence[Ender] = (),
    plan: Plan | None = None,
    undo_until: datetime | None = None,
) -> tuple[Offboarding, bool]:
    """As begin, for whoever may say the same thing twice: a directory, an issuer, a sweep. False if it was done before.

    Raises CannotOffboard, of the last owner for instance.
    """
    chosen = usual_plan(person) if plan is None else plan
    person = _locked(person, chosen)
    if (standing := standing_of(person)) is not None:
        return standing, False
    begun = begin(
        person, plan=chosen, by=by, record=record, now=now, enders=enders, reason=reason, undo_until=undo_until
    )
    return begun, True


def standing_of(person: User) -> Offboarding | None:
    """The one that is under way, or that ended her and still holds: to ask for another would change nothing."""
    under_way = Offboarding.objects.filter(person=person, state=Offboarding.State.ENFORCING).first()
    if under_way is not None or person.is_active:
        return under_way
    ended = (Offboarding.State.ENFORCED, Offboarding.State.INCOMPLETE)
    return Offboarding.objects.filter(person=person, state__in=ended).order_by("-created_at").first()


def usual_plan(person: User) -> Plan:
    """For whoever chooses nothing: her manager gets her agents; without one they are suspended."""
    heir = User.objects.filter(reports=person, is_active=True).exclude(id=person.id).first()
    return Plan(heir.email if heir else "")


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
    names = {item["id"]: item["name"] for item in items if item["kind"] in CREDENTIALS}
    live = set(live_key_ids)
    for first in range(0, len(names), ASKED_AT_ONCE):
        some = list(names)[first : first + ASKED_AT_ONCE]
        for model in (AgentCredential, PersonalToken, Authorization):
            rows = model.objects.filter(id__in=some, revoked_at=None)
            live.update(row.hex for row in rows.values_list("id", flat=True))
    return [name for key, name in names.items() if key in live]


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
    list(agents_of(person).select_for_update().order_by("id").values_list("id", flat=True))
    return people[person.id]


# -- doing it


def _withdraw(person: User, plan: Plan, *, by: str, record: Recorder, now: datetime) -> None:
    keys_of(person).update(revoked_at=now, revoked_by=by)
    revoke_all_tokens(person, by=by, record=record, now=now)
    void_of_person(person, f"{person.email} was offboarded", record=record, now=now)
    escalate_of_person(person, record=record, now=now)
    grants.revoke_of_person(person, by=by, record=record, now=now)
    shifts_of(person).delete()
    _hand_over(person, plan)
    person.teams.clear()
    person.roles.clear()
    User.objects.filter(id=person.id).update(
        is_active=False, is_staff=False, is_superuser=False, duties=[], manager=None, password=make_password(None)
    )


def _hand_over(person: User, plan: Plan) -> None:
    """One statement for each successor, and one for those that nobody gets. A client of her own is passed to nobody:
    it would take that person's roles."""
    heirs = dict(User.objects.filter(email__in=plan.successors).values_list("email", "id"))
    given: dict[str, list[Any]] = {}
    own_clients = agents_of(person).filter(takes_owner_roles=True)
    own_clients.exclude(status=Agent.Status.RETIRED).update(status=Agent.Status.RETIRED)
    for agent_id, name in agents_of(person).exclude(status=Agent.Status.RETIRED).values_list("id", "name"):
        given.setdefault(plan.successor_of(name), []).append(agent_id)
    Agent.objects.filter(id__in=given.pop("", ()), status=Agent.Status.LIVE).update(status=Agent.Status.SUSPENDED)
    for email, agent_ids in given.items():
        Agent.objects.filter(id__in=agent_ids).update(owner=heirs[email])


def _opened(person: User, plan: Plan, *, by: str, reason: str, now: datetime) -> Offboarding:
    """The scheduled one, or a new one; a constraint lets a person have one at a time. Still to be moved on."""
    waiting = Offboarding.objects.filter(person=person, state=Offboarding.State.SCHEDULED).first()
    if waiting is not None:
        Offboarding.objects.filter(id=waiting.id).update(plan=plan.as_json(), created_by=by, reason=reason[:300])
        return waiting
    return _created(
        Offboarding(person=person, plan=plan.as_json(), due_at=now, created_by=by, reason=reason[:300]),
    )


def _created(offboarding: Offboarding) -> Offboarding:
    try:
        with transaction.atomic():
            offboarding.save(force_insert=True)
    except IntegrityError:
        raise UnderWay(f"{offboarding.person.email} is being offboarded already, or it is planned.") from None
    return offboarding


def _former(person: User, plan: Plan) -> dict[str, Any]:
    """What undoing gives back; no credential is among it."""
    lasting = agents_of(person).filter(takes_owner_roles=False).exclude(status=Agent.Status.RETIRED)
    agents = lasting.values_list("id", "name", "status")
    return {
        "teams": [team.hex for team in person.teams.values_list("id", flat=True)],
        "roles": [role.hex for role in person.roles.values_list("id", flat=True)],
        "manager": person.manager_id.hex if person.manager_id else "",
        "is_staff": person.is_staff,
        "is_owner": person.is_superuser,
        "duties": person.duties,
        "agents": [[agent_id.hex, status, plan.successor_of(name)] for agent_id, name, status in agents],
    }


def _leave_steps(offboarding: Offboarding, items: list[Item], *, now: datetime) -> None:
    left = {(item.step, item.id or item.mark): item for item in items if item.step}
    rows = [
        OffboardingStep(offboarding=offboarding, kind=kind, name=item.name[:300], subject_id=subject, next_try_at=now)
        for (kind, subject), item in left.items()
    ]
    proof = "every ended key and token, at every gateway"
    rows.append(
        OffboardingStep(offboarding=offboarding, kind=PROVE, name=proof, subject_id=offboarding.id.hex, next_try_at=now)
    )
    OffboardingStep.objects.bulk_create(rows, batch_size=500)


def _enforcing(
    offboarding: Offboarding, items: list[Item], *, former: dict[str, Any], undo_until: datetime | None, now: datetime
) -> None:
    changes = {"items": [item.as_json() for item in items], "withdrawn_at": now}
    changes |= {"former": former, "undo_until": undo_until}
    if not _move(offboarding, Offboarding.State.SCHEDULED, Offboarding.State.ENFORCING, **changes):
        raise UnderWay("This offboarding was cancelled or begun by somebody else.")
    offboarding.refresh_from_db()


def _move(offboarding: Offboarding, before: str, after: str, **changes: Any) -> bool:
    return bool(Offboarding.objects.filter(id=offboarding.id, state=before).update(state=after, **changes))


def _told(offboarding: Offboarding, plan: Plan, items: list[Item]) -> dict[str, Any]:
    """Bounded, whatever she owned: every row's own change is evidence beside it."""
    return {
        "offboarding": str(offboarding.id),
        "reason": offboarding.reason,
        "plan": _first_agents(plan),
        "counts": counts(items),
        "items": [item.as_json() for item in items[:FIRST_ITEMS]],
        "items_in_all": len(items),
        "items_sha256": hashlib.sha256(orjson.dumps(items)).hexdigest(),
    }


def _first_agents(plan: Plan) -> dict[str, Any]:
    return Plan(plan.otherwise, dict(list(plan.agents.items())[:FIRST_AGENTS])).as_json()
