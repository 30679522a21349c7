"""How a question to humans is read from its row, and the one way in which its row changes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, Q

from governance.approval_terms import parse_terms, terms_as_json
from governance.approvers import Standing, Subject, Vote, standing
from governance.canonical import digest
from governance.decision import Ask
from governance.facts import Fact, Recorder
from governance.models import ApprovalDecision, ApprovalRequest
from governance.snapshot import Snapshot

State = ApprovalRequest.State
Verdict = ApprovalDecision.Verdict
ALWAYS = Q()
ENDINGS = {
    State.CONSUMED: "approval.used",
    State.DENIED: "approval.denied",
    State.EXPIRED: "approval.expired",
    State.CANCELLED: "approval.cancelled",
    State.VOID: "approval.voided",
}
"""Kind of fact for each end."""


class CannotDecide(Exception):
    """Why this human may not do this to this request now; the message names the way out."""


class Ended(CannotDecide):
    """It is over, or approved already; the message says by whom and when."""


class NotEligible(CannotDecide):
    """Her decision would not count."""


class Changed(CannotDecide):
    """She was shown something else than what would be decided."""


class DecidedAlready(CannotDecide):
    """The same human has, through this account or another."""


class Incomplete(CannotDecide):
    """`field`, reason or ticket, is asked for by the rule."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class StepUpNeeded(CannotDecide):
    """Her proof of who she is is older than `seconds`."""

    def __init__(self, seconds: int, message: str) -> None:
        super().__init__(message)
        self.seconds = seconds


class NoPattern(CannotDecide):
    """The rule, or what was chosen, allows no approval of more than this one call."""


class WrongPlace(CannotDecide):
    """The rule does not let this be decided in a chat."""


@dataclass(frozen=True, slots=True)
class Authentication:
    """The sign-in behind a decision; `at` is when she last proved who she is, None where nothing tells."""

    method: str
    at: datetime | None
    ip: str = ""
    has_second_factor: bool = False

    def as_json(self) -> dict[str, str]:
        return {"method": self.method, "at": self.at.isoformat() if self.at else "", "ip": self.ip}


def approval_digest(request: ApprovalRequest) -> bytes:
    """What an approver is shown and agrees to: the call, of this request and no other."""
    return digest(b"gatehouse/approval/v1", bytes(request.call_digest), request.key.bytes)


def asks_of(request: ApprovalRequest) -> tuple[Ask, ...]:
    return tuple(Ask(term["rule"], term["reason"], parse_terms(term["approvers"])) for term in request.terms)


def asks_as_json(asks: Iterable[Ask]) -> list[dict[str, Any]]:
    return [{"rule": ask.rule, "reason": ask.reason, "approvers": terms_as_json(ask.terms)} for ask in asks]


def subject_of(request: ApprovalRequest) -> Subject:
    return Subject(
        asked_at=request.created_at,
        agent_id=_hex(request.agent_id),
        owner_id=_hex(request.owner_id),
        person_id=_hex(request.person_id),
        asked_by_id=_hex(request.asked_by_id),
        connector_id=_hex(request.connector_id),
    )


def votes_of(request: ApprovalRequest) -> list[Vote]:
    rows = request.decisions.values_list("person_id", "verdict", "digest", "at")
    return [Vote(person.hex, verdict == Verdict.APPROVE, bytes(shown), at) for person, verdict, shown, at in rows]


def standing_of(
    request: ApprovalRequest, snapshot: Snapshot, *, votes: Sequence[Vote] | None = None, asks: Iterable[Ask] = ()
) -> Standing:
    """As things are now; `votes` and `asks` where whoever asks has read them already."""
    counted = votes_of(request) if votes is None else votes
    return standing(asks or asks_of(request), counted, subject_of(request), snapshot, approval_digest(request))


def state_at(request: ApprovalRequest, now: datetime) -> str:
    """Time ends a request whether or not somebody has looked since."""
    ends_at = {State.PENDING: request.expires_at, State.APPROVED: request.use_before}.get(State(request.state))
    return State.EXPIRED if ends_at is not None and ends_at <= now else str(request.state)


def how_it_ended(request: ApprovalRequest, now: datetime) -> str:
    """For whoever comes too late: who decided, and when."""
    state = state_at(request, now)
    if state in (State.PENDING, State.APPROVED, State.CONSUMED):
        agreed = request.decisions.filter(verdict=Verdict.APPROVE, digest=approval_digest(request))
        told = [f"{row.person} at {row.at:%H:%M:%S} UTC" for row in agreed]
        return f"{request.name} is {State(state).label.lower()}; approved by {', '.join(told) or 'nobody yet'}."
    ended_at = request.ended_at or request.use_before or request.expires_at
    because = f": {request.ended_because}" if request.ended_because else ""
    return f"{request.name} is {State(state).label.lower()} since {ended_at:%Y-%m-%d %H:%M:%S} UTC{because}."


def in_time(now: datetime) -> Q:
    return Q(state=State.PENDING, expires_at__gt=now) | Q(state=State.APPROVED, use_before__gt=now)


def overdue(now: datetime) -> Q:
    return Q(state=State.PENDING, expires_at__lte=now) | Q(state=State.APPROVED, use_before__lte=now)


def move(request: ApprovalRequest, where: Q, **changes: Any) -> bool:
    """One conditional UPDATE from exactly the state and revision at hand; False if the row has moved on since."""
    at_hand = where & Q(state=request.state, revision=request.revision)
    rows = ApprovalRequest.objects.filter(at_hand, number=request.number)
    if not rows.update(revision=F("revision") + 1, **changes):
        return False
    request.refresh_from_db()
    return True


def end(
    request: ApprovalRequest,
    state: State,
    why: str,
    *,
    record: Recorder,
    now: datetime,
    where: Q = ALWAYS,
    **changes: Any,
) -> bool:
    """Into a final state, with its evidence; arguments that its bundle does not record go at once. False if it is over
    or has moved on."""
    is_live = Q(state__in=ApprovalRequest.LIVE)
    changes |= {"state": state, "ended_at": now, "ended_because": why[:300]}
    changes["answer"] = None
    if not request.asked_arguments:
        changes["arguments"] = b""
    if not move(request, where & is_live, **changes):
        return False
    record(fact(ENDINGS[state], request, reason=why[:300]))
    return True


def fact(kind: str, request: ApprovalRequest, **details: Any) -> Fact:
    """About whoever asked, so that it is found among all that an agent or person did, and in the session it is of."""
    subject = f"agent:{request.agent}" if request.agent else f"person:{request.person}"
    about = {"request": request.name, "key": str(request.key), "tool": request.tool, "bundle": request.bundle}
    shown = {"approval_digest": approval_digest(request).hex()}
    if request.asking_call_id is not None:
        about["call"] = str(request.asking_call_id)
    return Fact(kind, subject, {**about, **shown, **details}, session=request.run, person=request.person)


def _hex(row_id: UUID | None) -> str:
    return row_id.hex if row_id else ""
