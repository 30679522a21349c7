"""Questions to humans: asked once, decided by those who may, on exactly what they were shown.

Nothing here waits, and no answer rests on a read that somebody else may have overtaken: the row is held by one
conditional UPDATE before a decision is counted, so that of two approvers at once the second sees the first.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q

from governance.approval_rows import (
    Authentication,
    CannotDecide,
    Changed,
    DecidedAlready,
    Ended,
    Incomplete,
    NoPattern,
    NotEligible,
    State,
    StepUpNeeded,
    Verdict,
    WrongPlace,
    approval_digest,
    asks_as_json,
    asks_of,
    end,
    fact,
    how_it_ended,
    in_time,
    move,
    overdue,
    standing_of,
    state_at,
    subject_of,
    votes_of,
)
from governance.approval_terms import Terms, duration, shortest
from governance.approvers import Vote, eligible, human_of, interested
from governance.decision import Ask
from governance.facts import Recorder
from governance.grants import Pattern, give_access, give_consent
from governance.models import ApprovalDecision, ApprovalRequest, Grant, User
from governance.snapshot import Snapshot

MOST_WAITING = 50
"""Questions of one agent, or of one person for herself, at a time: who is asked too much clicks without reading."""
ATTEMPTS = 3
CHAT = "slack"


class TooManyQuestions(Exception):
    """The agent has so many questions waiting that another one would not be read."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """What a human decides with: `digest` and `revision` are what she was shown, `channel` is web, api or slack."""

    by: User
    digest: bytes
    revision: int
    channel: str
    authentication: Authentication
    reason: str = ""
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class Narrowed:
    """Arguments that an approver puts in place of those asked for, sealed, and the digest of the call with them."""

    arguments: bytes = field(repr=False)
    call_digest: bytes


def ask(
    draft: ApprovalRequest, asks: Sequence[Ask], *, record: Recorder, now: datetime
) -> tuple[ApprovalRequest, bool]:
    """The live request of this call, or else `draft` stored, waiting from now on; and whether it is new.

    `draft` is not saved yet; its terms and times come from `asks`. Raises TooManyQuestions.
    """
    draft.created_at = now
    draft.expires_at = now + timedelta(seconds=shortest(ask.terms.pending for ask in asks))
    draft.terms = asks_as_json(asks)
    for attempt in range(ATTEMPTS):
        found = live_request(bytes(draft.asked_digest), record=record, now=now)
        if found is not None:
            return found, False
        _check_not_too_many(draft, now)
        try:
            with transaction.atomic():
                draft.save(force_insert=True)
        except IntegrityError:
            if attempt == ATTEMPTS - 1:
                raise
            continue
        record(fact("approval.asked", draft, rules=[ask.rule for ask in asks], expires_at=draft.expires_at))
        return draft, True
    raise AssertionError("unreachable")


def live_request(asked_digest: bytes, *, record: Recorder, now: datetime) -> ApprovalRequest | None:
    """The one that waits or is approved; ends it if its time is over, so that the call can be asked for again."""
    row = ApprovalRequest.objects.filter(asked_digest=asked_digest, state__in=ApprovalRequest.LIVE).first()
    if row is not None and state_at(row, now) == State.EXPIRED:
        expire(row, record=record, now=now)
        return None
    return row


def decide(
    request: ApprovalRequest, ballot: Ballot, *, approves: bool, snapshot: Snapshot, record: Recorder, now: datetime
) -> ApprovalRequest:
    """Counts one human's decision, and ends or approves the request when it is the last one needed.

    Raises CannotDecide. The row that is returned says what became of it.
    """
    asks = _held(request, ballot, approves=approves, snapshot=snapshot, now=now)
    _count(request, ballot, approves=approves, snapshot=snapshot, record=record, now=now)
    return _concluded(request, ballot, asks, snapshot=snapshot, record=record, now=now)


def narrow(
    request: ApprovalRequest, ballot: Ballot, narrowed: Narrowed, *, snapshot: Snapshot, record: Recorder, now: datetime
) -> ApprovalRequest:
    """Puts other arguments in place and agrees to the call with them. Who had agreed to the former ones has not agreed
    to these: her decision stays on record, and counts no more. Raises CannotDecide."""
    asks = _held(request, ballot, approves=True, snapshot=snapshot, now=now)
    if request.kind != ApprovalRequest.Kind.CALL or narrowed.call_digest == bytes(request.call_digest):
        raise Changed("Nothing was narrowed: approve it as it is, or change an argument.")
    before = approval_digest(request).hex()
    changes = {"arguments": narrowed.arguments, "call_digest": narrowed.call_digest}
    if not move(request, in_time(now), **changes):
        raise Changed("It changed while you looked. Read it again, and decide again.")
    _check_first(request, replace(ballot, digest=approval_digest(request)), snapshot)
    record(fact("approval.narrowed", request, by=ballot.by.email, before=before))
    _count(request, ballot, approves=True, snapshot=snapshot, record=record, now=now)
    return _concluded(request, ballot, asks, snapshot=snapshot, record=record, now=now)


def approve_pattern(
    request: ApprovalRequest, ballot: Ballot, pattern: Pattern, *, snapshot: Snapshot, record: Recorder, now: datetime
) -> Grant:
    """Approves this call, and calls like it for a while. Only where her word alone is enough: who must agree in pairs
    agrees call by call. Raises CannotDecide."""
    asks = _held(request, ballot, approves=True, snapshot=snapshot, now=now)
    _check_pattern(request, pattern, asks)
    alone = Vote(ballot.by.pk.hex, True, ballot.digest, now)
    if not standing_of(request, snapshot, votes=[alone], asks=asks).is_approved:
        raise NoPattern("Others must agree too, so calls are approved one by one. Approve this one.")
    _count(request, ballot, approves=True, snapshot=snapshot, record=record, now=now)
    _concluded(request, ballot, asks, snapshot=snapshot, record=record, now=now)
    rules = [ask.rule for ask in asks]
    grant = give_consent(request, pattern, rules=rules, by=ballot.by, record=record, now=now)
    ApprovalRequest.objects.filter(number=request.number).update(grant_id=grant.pk)
    request.refresh_from_db()
    return grant


def cancel(request: ApprovalRequest, *, by: str, record: Recorder, now: datetime) -> bool:
    """Withdrawn by who asked. False if it is over."""
    return end(request, State.CANCELLED, f"withdrawn by {by}", record=record, now=now)


def may_cancel(request: ApprovalRequest, person_id: str, snapshot: Snapshot) -> bool:
    """Whoever wants it may want it no more: the humans who could not approve it."""
    return human_of(person_id, snapshot) in interested(subject_of(request), snapshot)


def void(request: ApprovalRequest, why: str, *, record: Recorder, now: datetime) -> bool:
    """What was asked or agreed to is not what would run now. False if it is over."""
    return end(request, State.VOID, why, record=record, now=now)


def expire(request: ApprovalRequest, *, record: Recorder, now: datetime) -> bool:
    """False if its time is not over, or it is."""
    why = "approved, but not used in time" if request.state == State.APPROVED else "nobody decided in time"
    return end(request, State.EXPIRED, why, record=record, now=now, where=overdue(now))


# -- counting


def _held(
    request: ApprovalRequest, ballot: Ballot, *, approves: bool, snapshot: Snapshot, now: datetime
) -> tuple[Ask, ...]:
    """Holds the row until the transaction ends, if it still waits as she was shown. Raises CannotDecide.

    First she herself is held, in the order of an offboarding: either that finds her decision, or this finds her gone.
    """
    if User.objects.select_for_update().filter(pk=ballot.by.pk, is_active=True).first() is None:
        raise NotEligible("Your account is not active any more.")
    waits = Q(number=request.number, state=State.PENDING, expires_at__gt=now)
    is_held = ApprovalRequest.objects.filter(waits).update(state=State.PENDING)
    request.refresh_from_db()
    if not is_held:
        raise Ended(how_it_ended(request, now))
    if request.revision != ballot.revision or approval_digest(request) != ballot.digest:
        raise Changed("It changed since you were shown it. Read it again, and decide again.")
    asks = asks_of(request)
    subject = subject_of(request)
    hers = [ask.terms for ask in asks if eligible(ask.terms, subject, ballot.by.pk.hex, snapshot, now)]
    if not hers:
        raise NotEligible(_why_not(request, ballot.by.pk.hex, snapshot))
    _check_first(request, ballot, snapshot)
    is_unseen = request.kind == ApprovalRequest.Kind.ANSWER
    for terms in hers:
        _check_place(replace(terms, in_chat=False) if is_unseen else terms, ballot, approves=approves, now=now)
        _check_words(terms, ballot, approves=approves)
    return asks


def _check_pattern(request: ApprovalRequest, pattern: Pattern, asks: Sequence[Ask]) -> None:
    longest = shortest(ask.terms.longest_grant for ask in asks)
    if request.kind != ApprovalRequest.Kind.CALL or request.method != "tools/call":
        raise NoPattern("Only calls of tools are approved by pattern.")
    if not longest:
        raise NoPattern("The rules that ask want each call to be decided. Approve this one.")
    if not timedelta(0) < pattern.lasting <= timedelta(seconds=longest):
        raise NoPattern(f"The rules that ask allow a pattern for {duration(longest)} at most.")


def _why_not(request: ApprovalRequest, person_id: str, snapshot: Snapshot) -> str:
    if human_of(person_id, snapshot) in interested(subject_of(request), snapshot):
        return "Nobody decides what she, an agent of hers or one that acts for her asks for. Ask somebody else."
    return "The rules that ask do not name you. Those whom they name are listed with the request."


def _check_first(request: ApprovalRequest, ballot: Ballot, snapshot: Snapshot) -> None:
    human = human_of(ballot.by.pk.hex, snapshot)
    earlier = request.decisions.filter(human_id=human, digest=ballot.digest).first()
    if earlier is not None:
        said = Verdict(earlier.verdict).label.lower()
        raise DecidedAlready(f"You decided at {earlier.at:%H:%M:%S} UTC ({said}); others are still to agree.")


def _check_place(terms: Terms, ballot: Ballot, *, approves: bool, now: datetime) -> None:
    """To refuse is safe wherever it comes from."""
    if not approves:
        return
    if ballot.channel == CHAT and not terms.in_chat:
        raise WrongPlace("The rule wants this to be decided on its page. Open it there.")
    proved_at = ballot.authentication.at
    if terms.step_up and (proved_at is None or now - proved_at > timedelta(seconds=terms.step_up)):
        age = duration(terms.step_up)
        raise StepUpNeeded(terms.step_up, f"The rule wants a sign-in not older than {age}. Sign in again on its page.")


def _check_words(terms: Terms, ballot: Ballot, *, approves: bool) -> None:
    if terms.needs_reason and not ballot.reason.strip():
        raise Incomplete("reason", "The rule wants a reason. Write one.")
    if approves and not terms.takes_ticket(ballot.ticket):
        raise Incomplete("ticket", f"The rule wants the number of a ticket, such as {terms.ticket}.")


def _count(
    request: ApprovalRequest, ballot: Ballot, *, approves: bool, snapshot: Snapshot, record: Recorder, now: datetime
) -> None:
    verdict = Verdict.APPROVE if approves else Verdict.DENY
    ApprovalDecision.objects.create(
        request=request,
        human_id=human_of(ballot.by.pk.hex, snapshot),
        person_id=ballot.by.pk,
        person=ballot.by.email,
        verdict=verdict,
        reason=ballot.reason[:500],
        ticket=ballot.ticket[:100],
        channel=ballot.channel,
        authentication=ballot.authentication.as_json(),
        digest=approval_digest(request),
        at=now,
    )
    told = {"verdict": str(verdict), "reason": ballot.reason[:500], "ticket": ballot.ticket[:100]}
    record(fact("approval.decided", request, by=ballot.by.email, channel=ballot.channel, **told))


def _concluded(
    request: ApprovalRequest,
    ballot: Ballot,
    asks: tuple[Ask, ...],
    *,
    snapshot: Snapshot,
    record: Recorder,
    now: datetime,
) -> ApprovalRequest:
    found = standing_of(request, snapshot, votes=votes_of(request), asks=asks)
    if found.is_denied:
        because = f"denied by {ballot.by.email}" + (f": {ballot.reason}" if ballot.reason else "")
        end(request, State.DENIED, because, record=record, now=now)
    elif found.is_approved:
        use_before = now + timedelta(seconds=shortest(ask.terms.use_within for ask in asks))
        people = sorted(snapshot.people[person].email for person in found.approver_ids)
        if move(request, in_time(now), state=State.APPROVED, use_before=use_before):
            record(fact("approval.approved", request, approvers=people, use_before=use_before))
            if request.kind == ApprovalRequest.Kind.ACCESS:
                _give(request, ballot.by, found.approver_ids, record=record, now=now)
    return request


def _give(
    request: ApprovalRequest, by: User, approver_ids: Collection[str], *, record: Recorder, now: datetime
) -> None:
    """Access is given as soon as it is agreed to: there is no call that could come for it."""
    grant = give_access(request, approvers=approver_ids, by=by, record=record, now=now)
    end(request, State.CONSUMED, "access given", record=record, now=now, grant_id=grant.pk)


def _check_not_too_many(draft: ApprovalRequest, now: datetime) -> None:
    whose = {"agent_id": draft.agent_id} if draft.agent_id else {"agent_id": None, "person_id": draft.person_id}
    waiting = ApprovalRequest.objects.filter(state=State.PENDING, expires_at__gt=now, **whose)
    if waiting.count() >= MOST_WAITING:
        who = draft.agent or draft.person
        raise TooManyQuestions(f"{MOST_WAITING} requests of {who} wait already. Wait for some to be decided.")


__all__ = (
    "Authentication",
    "Ballot",
    "CannotDecide",
    "Narrowed",
    "Pattern",
    "TooManyQuestions",
    "approve_pattern",
    "ask",
    "cancel",
    "decide",
    "expire",
    "live_request",
    "may_cancel",
    "narrow",
    "void",
)
