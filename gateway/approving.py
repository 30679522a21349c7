"""What humans do with questions, across rooms: the verb, its evidence, its notices and the letter that wakes the held
call are one transaction, whichever door it comes through: page, API or chat."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from gateway import notices
from gateway.actions import act
from gateway.bus import post
from gateway.held_rows import call_digest, opened, sealed, topic_of_request
from gateway.reach.current import current_snapshot
from governance import access_requests, agents, approval_endings, approvals, canonical
from governance.access_requests import AccessWish
from governance.approval_rows import (
    CannotDecide,
    Changed,
    Ended,
    NoPattern,
    NotEligible,
    asks_of,
    fact,
    how_it_ended,
    state_at,
    subject_of,
)
from governance.approvals import Ballot, Narrowed
from governance.approvers import may_decide
from governance.facts import Recorder
from governance.grants import Pattern
from governance.models import Agent, ApprovalRequest, Grant, Tool, User
from governance.patterns import NotKept, condition_of
from governance.snapshot import Snapshot

MOST_AT_ONCE: Final = 50
CLOCK: Final = "system:approvals"

State = ApprovalRequest.State
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Acting:
    """What one act rests on: who is who, where evidence goes, and the time."""

    snapshot: Snapshot
    record: Recorder
    now: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a pattern is chosen on a page: `kept` are the arguments that stay as they are, `at_most` those that may be
    less."""

    minutes: int
    kept: tuple[str, ...]
    at_most: tuple[str, ...] = ()
    max_uses: int | None = None
    only_this_run: bool = False


def in_one_act(work: Callable[[Acting], Result], *, by: str) -> Result:
    """One transaction. What is known of people is read before it, so that nothing slow happens inside."""
    snapshot = current_snapshot()
    return act(lambda record, now: work(Acting(snapshot, record, now)), by=by)


# -- deciding


def decide(request: ApprovalRequest, ballot: Ballot, *, approves: bool) -> ApprovalRequest:
    """Raises CannotDecide."""
    return in_one_act(lambda acting: decided(request, ballot, acting, approves=approves), by=actor(ballot.by))


def decided(request: ApprovalRequest, ballot: Ballot, acting: Acting, *, approves: bool) -> ApprovalRequest:
    """As `decide`, inside the caller's transaction."""
    approvals.decide(request, ballot, approves=approves, snapshot=acting.snapshot, record=acting.record, now=acting.now)
    tell(request, now=acting.now)
    return request


def narrow(request: ApprovalRequest, ballot: Ballot, arguments: Mapping[str, Any]) -> ApprovalRequest:
    """`arguments` as `canonical.parse` read them. Raises CannotDecide."""
    return in_one_act(lambda acting: narrowed(request, ballot, arguments, acting), by=actor(ballot.by))


def narrowed(request: ApprovalRequest, ballot: Ballot, arguments: Mapping[str, Any], acting: Acting) -> ApprovalRequest:
    """As `narrow`, inside the caller's transaction."""
    arguments_of(request)
    body = canonical.encode(arguments)
    with_these = Narrowed(sealed(request.key, body), call_digest(request, body))
    approvals.narrow(request, ballot, with_these, snapshot=acting.snapshot, record=acting.record, now=acting.now)
    tell(request, now=acting.now)
    return request


def approve_pattern(request: ApprovalRequest, ballot: Ballot, wanted: Wanted) -> Grant:
    """Approves the call, and calls like it for a while. Raises CannotDecide."""
    return in_one_act(lambda acting: approved_by_pattern(request, ballot, wanted, acting), by=actor(ballot.by))


def approved_by_pattern(request: ApprovalRequest, ballot: Ballot, wanted: Wanted, acting: Acting) -> Grant:
    """As `approve_pattern`, inside the caller's transaction. A pattern holds values of the call in the clear, and so
    does its evidence: none is made where the bundle keeps no arguments."""
    if not request.asked_arguments:
        raise NoPattern("This bundle keeps no arguments, and a pattern would. Approve the call alone.")
    try:
        person = request.person or request.owner
        condition = condition_of(arguments_of(request), wanted.kept, at_most=wanted.at_most, person=person)
    except NotKept as reason:
        raise NoPattern(str(reason)) from None
    pattern = Pattern(timedelta(minutes=wanted.minutes), condition, wanted.max_uses, wanted.only_this_run)
    grant = approvals.approve_pattern(
        request, ballot, pattern, snapshot=acting.snapshot, record=acting.record, now=acting.now
    )
    tell(request, now=acting.now)
    return grant


def decide_many(
    chosen: Sequence[tuple[ApprovalRequest, Ballot]], *, approves: bool
) -> list[tuple[ApprovalRequest, CannotDecide | None]]:
    """Of requests alike and harmless, each with the digest she was shown; each its own act, so that one that has
    ended meanwhile does not hold up the others. Raises CannotDecide when they are not alike, having done nothing."""
    check_alike([request for request, _ in chosen])
    return [(request, _tried(request, ballot, approves=approves)) for request, ballot in chosen]


def check_alike(requests: Sequence[ApprovalRequest]) -> None:
    """Who decides many at once reads one. Raises CannotDecide."""
    if len(requests) > MOST_AT_ONCE:
        raise Changed(f"Decide at most {MOST_AT_ONCE} at once.")
    if any(row.kind == ApprovalRequest.Kind.ANSWER for row in requests):
        raise Changed("What calls got is read one by one. Decide them one by one.")
    kinds = {(row.kind, row.tool_id, row.definition_digest, str(row.terms)) for row in requests}
    if len(kinds) > 1:
        raise Changed("They differ in their tool or in the rules that ask. Decide them one by one.")
    tool_ids = [row.tool_id for row in requests[:1] if row.method == "tools/call"]
    is_low = Tool.objects.filter(pk__in=tool_ids, risk=Tool.Risk.LOW, is_egress=False).exists()
    if requests and (not is_low or any(row.labels for row in requests)):
        raise Changed("Only calls of low risk are decided at once. Decide them one by one.")


def arguments_of(request: ApprovalRequest) -> dict[str, Any]:
    """Of a tool call that waits. Raises CannotDecide where they are not kept, or an earlier answer hangs on them."""
    is_waiting = request.kind == ApprovalRequest.Kind.CALL and request.method == "tools/call"
    body = opened(request, bytes(request.arguments)) if is_waiting else b""
    arguments = canonical.parse(body) if body else None
    if not isinstance(arguments, dict) or not arguments.keys().isdisjoint(("inputResponses", "requestState")):
        raise NoPattern("This request can be approved or denied only as it is.")
    return arguments


def _tried(request: ApprovalRequest, ballot: Ballot, *, approves: bool) -> CannotDecide | None:
    try:
        decide(request, ballot, approves=approves)
    except CannotDecide as reason:
        return reason
    return None


# -- around it


def show_answer(request: ApprovalRequest, *, by: User, reason: str) -> None:
    """Puts on record who is about to see an answer that waits as it is, and why."""
    in_one_act(lambda acting: acting.record(fact("answer.shown", request, reason=reason)), by=actor(by))


def cancel(request: ApprovalRequest, *, by: User) -> ApprovalRequest:
    """By a human who stands behind it. Raises NotEligible or Ended."""
    return in_one_act(lambda acting: cancelled(request, acting, by=by), by=actor(by))


def cancelled(request: ApprovalRequest, acting: Acting, *, by: User) -> ApprovalRequest:
    """As `cancel`, inside the caller's transaction."""
    if not approvals.may_cancel(request, by.pk.hex, acting.snapshot):
        raise NotEligible("Only who asked, or answers for the agent that did, withdraws it. You may deny it instead.")
    if not approvals.cancel(request, by=by.email, record=acting.record, now=acting.now):
        request.refresh_from_db()
        raise Ended(how_it_ended(request, acting.now))
    tell(request, now=acting.now)
    return request


def suspend_agent(request: ApprovalRequest, *, by: User) -> bool:
    """By who may decide the request, or may change agents: to stop an agent is safe. All its requests end with it.
    False if it was not live. Raises NotEligible."""
    return in_one_act(lambda acting: _suspended(request, acting, by=by), by=actor(by))


def _suspended(request: ApprovalRequest, acting: Acting, *, by: User) -> bool:
    subject = subject_of(request)
    decides = may_decide(asks_of(request), subject, by.pk.hex, acting.snapshot, acting.now)
    if not decides and not (by.is_staff and by.has_perm("governance.change_agent")):
        raise NotEligible("You may neither decide this nor change agents. Ask somebody with the duty IT admin.")
    agent = Agent.objects.filter(pk=request.agent_id).first() if request.agent_id else None
    if agent is None or not agents.suspend_agent(agent, record=acting.record):
        return False
    why = f"{agent.name} was suspended by {by.email}"
    for ended in approval_endings.void_of_agent(agent.pk, why, record=acting.record, now=acting.now):
        tell(ended, now=acting.now)
    return True


def ask_for_access(wish: AccessWish, *, by: str) -> tuple[ApprovalRequest, bool]:
    """The request, and whether it is new. Whether `by` may ask for this subject is the door's question.

    Raises CannotGrant or TooManyQuestions.
    """
    return in_one_act(lambda acting: asked_for_access(wish, acting), by=by)


def asked_for_access(wish: AccessWish, acting: Acting) -> tuple[ApprovalRequest, bool]:
    """As `ask_for_access`, inside the caller's transaction."""
    request, is_new = access_requests.ask_for_access(
        wish, snapshot=acting.snapshot, record=acting.record, now=acting.now
    )
    if is_new:
        notices.asked(request, snapshot=acting.snapshot, now=acting.now)
    return request, is_new


def may_ask_for(subject: Agent | User, by: User) -> bool:
    """For herself and her agents; for others' agents who may change agents."""
    if isinstance(subject, User):
        return subject.pk == by.pk
    return subject.owner_id == by.pk or (by.is_staff and by.has_perm("governance.change_agent"))


# -- what the clock does


def look_at_clock() -> int:
    """For the worker: ends what nobody answered or used in time, and goes to others with what waits for long.
    Returns how many rows changed."""
    return in_one_act(_looked_at_clock, by=CLOCK) if approval_endings.anything_due(datetime.now(UTC)) else 0


def _looked_at_clock(acting: Acting) -> int:
    ended = approval_endings.expire_due(record=acting.record, now=acting.now)
    for request in ended:
        tell(request, now=acting.now)
    escalated = approval_endings.escalate_due(record=acting.record, now=acting.now)
    for request in escalated:
        notices.escalated(request, snapshot=acting.snapshot, now=acting.now)
    return len(ended) + len(escalated)


def tell(request: ApprovalRequest, *, now: datetime) -> None:
    """Whoever waits for the call, and open pages; and people, when it does not wait for them any more."""
    post(topic_of_request(request.key), b"")
    if state_at(request, now) == State.PENDING:
        post(notices.INBOX, str(request.key).encode())
    else:
        notices.ended(request, now=now)


def tell_all(requests: Collection[ApprovalRequest], *, now: datetime) -> None:
    for request in requests:
        tell(request, now=now)


def actor(person: User) -> str:
    return f"person:{person.email}"
