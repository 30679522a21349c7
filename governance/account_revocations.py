"""Accounts that have ended are revoked at their providers, by a worker that tries again and again; then their tokens
are erased. Where no machine can do it, a human is told what to do. Nothing here talks to a provider."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from django.db.models import F, QuerySet

from governance.account_tokens import emptied
from governance.connected_accounts import Revocation, subject_of, told_of
from governance.facts import Fact, Recorder
from governance.models import UpstreamGrant

ATTEMPTS = 40
"""At the provider, before a human is asked: with the pauses below more than a week."""
SHORTEST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=6)


def due_for_revocation(now: datetime) -> QuerySet[UpstreamGrant]:
    rows = UpstreamGrant.objects.filter(revocation=Revocation.DUE, revocation_due_at__lte=now)
    return rows.select_related("client__server", "connector", "person").order_by("revocation_due_at")


def take_revocation(grant: UpstreamGrant, *, now: datetime) -> bool:
    """Whether this worker is to try now; if it fails, or dies, the next attempt is due after a pause."""
    pause = min(SHORTEST_PAUSE * 2 ** min(grant.revocation_attempts, 10), LONGEST_PAUSE)
    rows = due_for_revocation(now).filter(pk=grant.pk, revocation_attempts=grant.revocation_attempts)
    taken = rows.order_by().update(revocation_attempts=F("revocation_attempts") + 1, revocation_due_at=now + pause)
    grant.revocation_attempts += taken
    return bool(taken)


def is_last_attempt(grant: UpstreamGrant) -> bool:
    return grant.revocation_attempts >= ATTEMPTS


def note_failed_attempt(grant: UpstreamGrant, problem: str) -> None:
    UpstreamGrant.objects.filter(pk=grant.pk, revocation=Revocation.DUE).update(revocation_note=problem[:500])


def finish_revocation(
    grant: UpstreamGrant,
    outcome: UpstreamGrant.Revocation,
    note: str,
    *,
    steps: Iterable[Mapping[str, str]] = (),
    record: Recorder,
) -> bool:
    """`outcome` is DONE, or MANUAL where only a human can do it. Either way nothing of the tokens is kept. False if
    other tokens came meanwhile, or somebody else was quicker."""
    rows = UpstreamGrant.objects.filter(pk=grant.pk, revocation=Revocation.DUE, generation=grant.generation)
    erased = rows.update(revocation=outcome, revocation_note=note[:500], **emptied())
    if not erased:
        return False
    kind = "account.revoked" if outcome == Revocation.DONE else "account.left_to_do"
    record(Fact(kind, subject_of(grant), told_of(grant, steps=list(steps), note=note, tokens="erased")))
    return True


def left_to_do() -> QuerySet[UpstreamGrant]:
    """What humans must still revoke at providers."""
    rows = UpstreamGrant.objects.filter(revocation=Revocation.MANUAL)
    return rows.select_related("client__server", "connector", "person").order_by("ended_at")


def settle(grant: UpstreamGrant, *, by: str, record: Recorder) -> bool:
    """A human says that it is revoked. False if nothing was left to do."""
    rows = UpstreamGrant.objects.filter(pk=grant.pk, revocation=Revocation.MANUAL)
    if not rows.update(revocation=Revocation.SETTLED):
        return False
    record(Fact("account.settled", subject_of(grant), told_of(grant, by=by)))
    return True
