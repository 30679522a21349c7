"""Grants: given when humans agree, or taken by one who must not wait; ended by time, by hand, or with who gave them.

A grant only adds to what is asked at every call: it skips no stage, and nothing that a rule denies is opened by it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from governance.approval_rows import Authentication, NotEligible, StepUpNeeded
from governance.approvers import human_of
from governance.facts import Fact, Recorder
from governance.models import Agent, ApprovalRequest, Bundle, Grant, GrantUse, Tool, User
from governance.snapshot import Snapshot

Kind = Grant.Kind
TAKE = "governance.break_glass_grant"
LONGEST_BREAK_GLASS = timedelta(minutes=60)
FRESH = timedelta(minutes=15)
"""How old the sign-in of who breaks the glass may be."""


class CannotGrant(Exception):
    """`field` is what will not do, the message says what will."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Pattern:
    """What is agreed to beforehand: calls that meet `condition`, for so long, so often, perhaps in one run only."""

    lasting: timedelta
    condition: str
    max_uses: int | None = None
    only_this_run: bool = False


def in_force(now: datetime | Now) -> Q:
    """Of rows of Grant, those that have not begun included."""
    return Q(revoked_at=None, ends_at__gt=now)


def unreviewed() -> QuerySet[Grant]:
    """Break-glass that nobody else has looked at."""
    return Grant.objects.filter(kind=Kind.BREAK_GLASS, reviewed_at=None).select_related("agent", "person", "bundle")


def give_consent(
    request: ApprovalRequest, pattern: Pattern, *, rules: Iterable[str], by: User, record: Recorder, now: datetime
) -> Grant:
    """Answers these asking rules for calls like the one that was asked for."""
    return _given(
        Kind.CONSENT,
        record=record,
        agent_id=request.agent_id,
        tool_id=request.tool_id,
        condition=pattern.condition,
        rules=sorted(rules),
        definition_digest=request.definition_digest,
        session=request.session if pattern.only_this_run else "",
        approvers=[by.pk.hex],
        reason=request.reason,
        request_number=request.number,
        starts_at=now,
        ends_at=now + pattern.lasting,
        max_uses=pattern.max_uses,
        created_by=f"person:{by.email}",
    )


def give_access(
    request: ApprovalRequest, *, approvers: Iterable[str], by: User, record: Recorder, now: datetime
) -> Grant:
    """What an approved request for access wants; a renewal begins where the former grant ends."""
    former = Grant.objects.filter(in_force(now), pk=request.wanted.get("renews")).first()
    starts_at = max(now, former.ends_at) if former else now
    return _given(
        Kind.ELEVATION,
        record=record,
        agent_id=request.agent_id,
        person_id=None if request.agent_id else request.person_id,
        bundle_id=request.bundle_id,
        tool_id=request.tool_id or None,
        approvers=sorted(approvers),
        reason=request.reason,
        request_number=request.number,
        starts_at=starts_at,
        ends_at=starts_at + timedelta(minutes=request.wanted["minutes"]),
        created_by=f"person:{by.email}",
    )


def break_glass(
    by: User,
    *,
    agent: Agent | None,
    bundle: Bundle,
    lasting: timedelta,
    reason: str,
    authentication: Authentication,
    record: Recorder,
    now: datetime,
) -> Grant:
    """A short, loud grant without approval, for an agent or, without one, for herself; reviewed by somebody else later.

    Raises NotEligible, StepUpNeeded or CannotGrant.
    """
    _check_may_take(by, authentication, now)
    if not timedelta(0) < lasting <= LONGEST_BREAK_GLASS:
        raise CannotGrant("minutes", "It lasts 1 to 60 minutes. Ask for access if it is needed for longer.")
    if not reason.strip():
        raise CannotGrant("reason", "Say what is at stake: somebody will review it.")
    return _given(
        Kind.BREAK_GLASS,
        record=record,
        agent_id=agent.pk if agent else None,
        person_id=None if agent else by.pk,
        bundle_id=bundle.pk,
        approvers=[by.pk.hex],
        reason=reason[:500],
        starts_at=now,
        ends_at=now + lasting,
        created_by=f"person:{by.email}",
    )


def revoke_grant(grant: Grant, *, by: str, record: Recorder, now: datetime) -> bool:
    """When this commits, no call rests on it. False if it was over."""
    if not Grant.objects.filter(in_force(now), pk=grant.pk).update(revoked_at=now, revoked_by=by):
        return False
    record(_fact("grant.revoked", grant, by=by))
    return True


def review_grant(grant: Grant, *, by: User, note: str, snapshot: Snapshot, record: Recorder, now: datetime) -> bool:
    """Says that somebody else has looked at a break-glass. False if it was reviewed before. Raises NotEligible or
    CannotGrant."""
    if not note.strip():
        raise CannotGrant("note", "Say what you found.")
    if human_of(by.pk.hex, snapshot) in {human_of(taker, snapshot) for taker in grant.approvers}:
        raise NotEligible("Who took it does not review it. Ask somebody else with the duty security.")
    waiting = Grant.objects.filter(pk=grant.pk, kind=Kind.BREAK_GLASS, reviewed_at=None)
    if not waiting.update(reviewed_at=now, reviewed_by=by.email, review_note=note[:500]):
        return False
    record(_fact("grant.reviewed", grant, by=by.email, note=note[:500]))
    return True


def live_of_person(person: User) -> list[Grant]:
    """Her own, those of her agents, and those that rest on her word."""
    live = Grant.objects.filter(in_force(Now())).select_related("agent", "person", "bundle", "tool__connector")
    hers = Q(person=person) | Q(agent__owner=person)
    agreed = [key for key, ids in live.values_list("pk", "approvers") if person.pk.hex in ids]
    return list(live.filter(hers | Q(pk__in=agreed)).order_by("created_at"))


def revoke_of_person(person: User, *, by: str, record: Recorder, now: datetime) -> int:
    return sum(revoke_grant(grant, by=by, record=record, now=now) for grant in live_of_person(person))


def _check_may_take(by: User, authentication: Authentication, now: datetime) -> None:
    if not (by.is_active and by.is_staff and by.has_perm(TAKE)):
        raise NotEligible("Breaking the glass takes the duty IT admin or security. Ask for access instead.")
    if not authentication.has_second_factor:
        raise NotEligible("It takes a sign-in with a second factor. Add one on your page, and sign in with it.")
    if authentication.at is None or now - authentication.at > FRESH:
        raise StepUpNeeded(
            int(FRESH.total_seconds()), "Sign in again first: it takes a sign-in of the last 15 minutes."
        )


def _given(kind: str, *, record: Recorder, **columns: Any) -> Grant:
    grant = Grant.objects.create(kind=kind, **columns)
    if grant.max_uses is not None:
        GrantUse.objects.create(grant=grant, max_uses=grant.max_uses)
    is_loud = kind == Kind.BREAK_GLASS
    record(_fact("break_glass.taken" if is_loud else "grant.given", grant, by=grant.created_by, reason=grant.reason))
    return grant


def _fact(kind: str, grant: Grant, **details: Any) -> Fact:
    subject = f"agent:{grant.agent.name}" if grant.agent else f"person:{grant.person}"
    about = {
        "grant": str(grant.pk),
        "kind": grant.kind,
        "bundle": grant.bundle.name if grant.bundle else "",
        "tool": tool_name(grant.tool),
        "condition": grant.condition,
        "starts_at": grant.starts_at,
        "ends_at": grant.ends_at,
        "request": f"APR-{grant.request_number}" if grant.request_number else "",
    }
    return Fact(kind, subject, {**about, **details})


def tool_name(tool: Tool | None) -> str:
    return f"{tool.connector.name}/{tool.name}" if tool else ""
