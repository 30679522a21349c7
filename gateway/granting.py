"""What humans do with grants, across rooms: each act one transaction with its evidence and its notices."""

from datetime import timedelta

from gateway import approving, notices
from gateway.actions import act
from gateway.approving import Acting, actor, in_one_act
from governance import access_requests, grants
from governance.approval_rows import Authentication
from governance.models import Agent, ApprovalRequest, Bundle, Grant, User


def revoke_grant(grant: Grant, *, by: User) -> bool:
    """When this returns, no call can start that rests on it. False if it was over."""
    return act(lambda record, now: grants.revoke_grant(grant, by=actor(by), record=record, now=now), by=actor(by))


def review_grant(grant: Grant, *, by: User, note: str) -> bool:
    """False if it was reviewed before. Raises NotEligible or CannotGrant."""
    return in_one_act(lambda acting: reviewed(grant, acting, by=by, note=note), by=actor(by))


def reviewed(grant: Grant, acting: Acting, *, by: User, note: str) -> bool:
    """As `review_grant`, inside the caller's transaction."""
    return grants.review_grant(grant, by=by, note=note, snapshot=acting.snapshot, record=acting.record, now=acting.now)


def renew(grant: Grant, *, minutes: int, reason: str, by: User) -> tuple[ApprovalRequest, bool]:
    """Asks humans again; what they give begins where this ends. Raises CannotGrant or TooManyQuestions."""
    wish = access_requests.renewal_of(grant, minutes=minutes, reason=reason, asked_by=by)
    return approving.ask_for_access(wish, by=actor(by))


def break_glass(
    by: User, *, agent: Agent | None, bundle: Bundle, minutes: int, reason: str, authentication: Authentication
) -> Grant:
    """Access at once and without approval, for an agent or, without one, for herself. Everybody who watches over
    rights is told. Raises NotEligible, StepUpNeeded or CannotGrant."""

    def work(acting: Acting) -> Grant:
        grant = grants.break_glass(
            by,
            agent=agent,
            bundle=bundle,
            lasting=timedelta(minutes=minutes),
            reason=reason,
            authentication=authentication,
            record=acting.record,
            now=acting.now,
        )
        notices.break_glass(grant, now=acting.now)
        return grant

    return in_one_act(work, by=actor(by))
