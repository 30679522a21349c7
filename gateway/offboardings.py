"""Offboardings from the click to the receipt, across rooms.

`begin_offboarding` withdraws everything in one transaction. After that nothing of hers can start a call; what is left
is to see every live gateway say so, and running calls end. `follow` looks once and notes what it sees; whoever waits
calls it again: the command, a screen, or the worker, which also goes on where one of them died. The last step writes
the receipt and its evidence; only one of all who follow gets to do it.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now
from django.db.utils import OperationalError

from gateway import live_probe, notices
from gateway.actions import act, was_rolled_back
from gateway.approving import tell_all
from gateway.enforcement import Enforcement, looked, waited_seconds
from gateway.offboarding_enders import ENDERS
from gateway.offboarding_proof import probe
from gateway.offboarding_receipts import issue, sign_unsigned, with_news
from gateway.offboarding_steps import asker_of, take_up_steps
from gateway.reach.current import current_snapshot
from governance import offboarding as verbs
from governance.facts import Recorder
from governance.models import ApprovalRequest, Offboarding, User
from governance.offboarding import CannotOffboard, Item, Plan
from governance.offboarding_undo import Return, undo

ENFORCE_SECONDS = 15.0
CALLS_SECONDS = 10.0
RETRY_FOR = timedelta(days=7)
"""How long an unconfirmed offboarding is looked at again."""
POLL_SECONDS = 0.02
BY = "system:offboarding"
UNDO_FOR = timedelta(days=settings.OFFBOARDING_UNDO_DAYS)

State = Offboarding.State


# -- beginning


def preview(person: User, *, plan: Plan) -> list[Item]:
    """Raises CannotOffboard."""
    return verbs.preview(person, plan=plan, enders=ENDERS)


def findings(person: User, *, plan: Plan) -> list[Item]:
    """As preview, also for somebody who cannot be offboarded as things are."""
    return verbs.findings(person, plan=plan, enders=ENDERS)


def begin_offboarding(person: User, *, plan: Plan, by: str, expected: str = "", reason: str = "") -> Offboarding:
    """When this returns, nothing of hers can start a call. `expected` is the digest of the findings that were seen.

    Raises CannotOffboard.
    """
    return act(
        lambda tell, now: begin_within(
            person, plan=plan, by=by, record=tell, now=now, expected=expected, reason=reason
        ),
        by=by,
    )


def begin_within(
    person: User, *, plan: Plan, by: str, record: Recorder, now: datetime, expected: str = "", reason: str = ""
) -> Offboarding:
    """As begin_offboarding, in the caller's governed transaction. Raises CannotOffboard."""
    until = now + UNDO_FOR
    begun = verbs.begin(
        person, plan=plan, by=by, record=record, now=now, enders=ENDERS, expected=expected, reason=reason,
        undo_until=until,
    )  # fmt: skip
    _tell_approvers(now)
    return begun


def offboard_once(person: User, *, by: str, reason: str, plan: Plan | None = None) -> Offboarding:
    """For whatever may say twice that she has left: a lost group, an issuer's event, a sweep. Asking again changes
    nothing, and gives what was begun. Without a `plan` her manager gets her agents. Raises CannotOffboard."""
    return act(
        lambda tell, now: offboard_once_within(person, by=by, reason=reason, record=tell, now=now, plan=plan), by=by
    )


def offboard_once_within(
    person: User, *, by: str, reason: str, record: Recorder, now: datetime, plan: Plan | None = None
) -> Offboarding:
    """As offboard_once, in the caller's governed transaction: a directory's message and what it does are one. The
    worker sees to the rest. `by` is e.g. `directory:okta`. Raises CannotOffboard."""
    row, is_new = verbs.begin_unless_done(
        person, by=by, reason=reason, record=record, now=now, enders=ENDERS, plan=plan, undo_until=now + UNDO_FOR
    )
    if is_new:
        _tell_approvers(now)
    return row


def _tell_approvers(now: datetime) -> None:
    """Who was to decide on what she had asked for hears that it is over; who is next, of what she will not decide."""
    tell_all(ApprovalRequest.objects.filter(state=ApprovalRequest.State.VOID, ended_at=now), now=now)
    escalated = list(ApprovalRequest.objects.filter(state=ApprovalRequest.State.PENDING, escalated_at=now))
    if escalated:
        snapshot = current_snapshot()
        for request in escalated:
            notices.escalated(request, snapshot=snapshot, now=now)


def schedule_offboarding(person: User, *, plan: Plan, due_at: datetime, by: str) -> Offboarding:
    """Raises CannotOffboard."""
    return act(lambda tell, now: verbs.schedule(person, plan=plan, due_at=due_at, by=by, record=tell, now=now), by=by)


def cancel_offboarding(offboarding: Offboarding, *, by: str) -> bool:
    """False if it was not waiting any more."""
    return act(lambda tell, now: verbs.cancel(offboarding, record=tell, now=now), by=by)


def undo_offboarding(offboarding: Offboarding, *, acting: User | None, by: str) -> Return:
    """She works here again, without any credential; see offboarding_undo. Raises CannotUndo."""
    return act(lambda tell, now: undo(offboarding, acting=acting, by=by, record=tell, now=now), by=by)


def begin_due() -> int:
    """Starts what is scheduled for now, in the name of who planned it; returns how many began."""
    due = Offboarding.objects.filter(state=State.SCHEDULED, due_at__lte=Now()).select_related("person")
    return sum(_begin_scheduled(offboarding) for offboarding in list(due))


def _begin_scheduled(offboarding: Offboarding) -> bool:
    problem = "" if verbs.scheduler_may(offboarding) else f"{offboarding.created_by} may not offboard her any more."
    if not problem:
        try:
            plan = verbs.plan_as_of_now(offboarding)
            begin_offboarding(offboarding.person, plan=plan, by=offboarding.created_by)
        except verbs.UnderWay:
            return False
        except CannotOffboard as error:
            problem = str(error)
    if problem:
        act(lambda tell, now: verbs.fail(offboarding, problem, record=tell, now=now), by="system:offboarding")
    return not problem


# -- following


def follow(offboarding_id: UUID) -> Offboarding:
    """One look at who has confirmed and what became of running calls; finishes when there is nothing to wait for.

    Waits for nothing and holds no transaction. Safe from anywhere, at once, and again after a crash.
    """
    offboarding = Offboarding.objects.select_related("person").get(id=offboarding_id)
    if offboarding.state not in (State.ENFORCING, State.INCOMPLETE) or offboarding.withdrawn_at is None:
        return offboarding
    before = Enforcement.from_json(offboarding.enforcement)
    now = looked(before, offboarding)
    if _is_over(now, offboarding) and (offboarding.state == State.ENFORCING or now.is_complete):
        _finish(offboarding, now)
    elif offboarding.state == State.ENFORCING and now.as_json() != {
        **before.as_json(),
        "milliseconds": now.milliseconds,
    }:
        Offboarding.objects.filter(id=offboarding.id, state=State.ENFORCING).update(enforcement=now.as_json())
    else:
        return offboarding
    offboarding.refresh_from_db()
    return offboarding


def follow_for(offboarding_id: UUID, seconds: float, *, sleep: Callable[[float], None] = time.sleep) -> Offboarding:
    """Looks again and again in this thread, until it is finished or the time is over."""
    ends_at = time.monotonic() + seconds
    while (offboarding := _followed(offboarding_id)).state == State.ENFORCING and time.monotonic() < ends_at:
        sleep(POLL_SECONDS)
    return offboarding


def _followed(offboarding_id: UUID) -> Offboarding:
    """As follow. What could not be noted because others kept the database busy is noted by the next look."""
    try:
        return follow(offboarding_id)
    except OperationalError as error:
        if not was_rolled_back(error):
            raise
        return Offboarding.objects.select_related("person").get(id=offboarding_id)


def follow_unfinished() -> int:
    """For the worker: what nobody looks at any more goes on. Returns how many it looked at."""
    since = datetime.now(UTC) - RETRY_FOR
    waiting = Q(state=State.ENFORCING) | Q(state=State.INCOMPLETE, withdrawn_at__gte=since)
    ids = list(Offboarding.objects.filter(waiting).values_list("id", flat=True))
    for offboarding_id in ids:
        follow_for(offboarding_id, CALLS_SECONDS / 10)
    return len(ids)


def offboard(person: User, *, plan: Plan, by: str, reason: str = "") -> Offboarding:
    """Ends a person and waits until every live gateway has confirmed it. Raises CannotOffboard."""
    begun = begin_offboarding(person, plan=plan, by=by, reason=reason)
    return follow_for(begun.id, ENFORCE_SECONDS + CALLS_SECONDS)


def _is_over(seen: Enforcement, offboarding: Offboarding) -> bool:
    waited = waited_seconds(offboarding)
    return seen.is_complete or waited > ENFORCE_SECONDS or (seen.is_confirmed and waited > CALLS_SECONDS)


# -- finishing


def _finish(offboarding: Offboarding, seen: Enforcement) -> None:
    """The receipt and its evidence, once for each verdict: an incomplete one may become complete later."""
    verdict = State.ENFORCED if seen.is_complete else State.INCOMPLETE
    check = probe(offboarding, by=BY)
    issue(offboarding, seen, check, verdict=verdict, by=offboarding.created_by)


def take_up_what_is_left() -> int:
    """For the worker: steps that are due, then the next edition of each receipt they changed, then signatures that were
    not to be had. Returns how many steps' offboardings moved on."""
    moved = take_up_steps()
    for row in with_news():
        _reissue(row)
    sign_unsigned()
    return len(moved)


def _reissue(offboarding: Offboarding) -> None:
    asked = live_probe.last_asked(asker_of(offboarding.id))
    check = probe(offboarding, by=BY, gateways=None if asked is None else live_probe.words(asked))
    seen = Enforcement.from_json(offboarding.enforcement)
    issue(offboarding, seen, check, verdict=offboarding.state, by=BY)
