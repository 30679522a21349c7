"""How questions end without a decision: by the clock, or with whoever asked or agreed. In bounded portions."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Q, QuerySet

from governance.approval_rows import State, Verdict, asks_of, fact, in_time, overdue
from governance.approval_terms import Terms, TermsError
from governance.approvals import expire, void
from governance.facts import Recorder
from governance.models import ApprovalRequest, User

PORTION = 200
"""Rows at a time, each its own UPDATE and its own evidence, in one transaction."""
KEPT_FOR = timedelta(days=30)
"""How long arguments of a request that has ended can still be read."""


def anything_due(now: datetime) -> bool:
    """Looked at without a transaction, as mostly there is nothing."""
    unanswered = _without_arguments().filter(in_time(now), state=State.PENDING, escalated_at=None)
    has_overdue = ApprovalRequest.objects.filter(overdue(now)).exists()
    return has_overdue or any(_is_to_escalate(request, now) for request in unanswered.iterator(chunk_size=PORTION))


def expire_due(*, record: Recorder, now: datetime) -> list[ApprovalRequest]:
    """The next portion of those whose time is over."""
    due = _without_arguments().filter(overdue(now)).order_by("number")[:PORTION]
    return [request for request in due if expire(request, record=record, now=now)]


def escalate_due(*, record: Recorder, now: datetime) -> list[ApprovalRequest]:
    """The next portion of those that nobody has answered and that go to others now; each is returned once."""
    waiting = _without_arguments().filter(in_time(now), state=State.PENDING, escalated_at=None)
    return [
        request
        for request in waiting.order_by("number").iterator(chunk_size=PORTION)
        if _is_to_escalate(request, now) and _escalated(request, record=record, now=now)
    ]


def escalate_of_person(person: User, *, record: Recorder, now: datetime) -> list[ApprovalRequest]:
    """Questions that name her go to whoever is next at once: she will not answer any more."""
    waiting = _without_arguments().filter(in_time(now), state=State.PENDING, escalated_at=None)
    return [
        request
        for request in list(waiting.order_by("number"))
        if any(terms.escalate_to for terms in _naming(request, person)) and _escalated(request, record=record, now=now)
    ]


def asked_of_person(person: User, now: datetime) -> list[ApprovalRequest]:
    """Questions of others that name her, and that nobody has answered."""
    waiting = _without_arguments().filter(in_time(now), state=State.PENDING)
    return [request for request in list(waiting.order_by("number")) if _naming(request, person)]


def empty_old(*, now: datetime) -> int:
    """Takes the arguments out of requests that ended long ago. Returns how many."""
    over = ApprovalRequest.objects.exclude(state__in=ApprovalRequest.LIVE).exclude(arguments=b"")
    due = over.filter(ended_at__lt=now - KEPT_FOR)
    numbers = list(due.order_by("number").values_list("number", flat=True)[:PORTION])
    return ApprovalRequest.objects.filter(number__in=numbers).update(arguments=b"", asked_arguments=b"")


def empty_answers() -> int:
    """Takes out what agents have been told by now. Returns how many."""
    over = ApprovalRequest.objects.exclude(state__in=ApprovalRequest.LIVE).filter(answer__isnull=False)
    numbers = list(over.order_by("number").values_list("number", flat=True)[:PORTION])
    return ApprovalRequest.objects.filter(number__in=numbers).update(answer=None)


def empty_of_person(person: User, *, record: Recorder, now: datetime) -> int:
    """Takes the arguments out of all that was asked for her; what still waits is void. Returns how many."""
    hers = ApprovalRequest.objects.filter(Q(person_id=person.pk) | Q(person_id=None, owner_id=person.pk))
    live = hers.filter(state__in=ApprovalRequest.LIVE).order_by("number")
    void_all(list(live), "The person it was for was erased.", record=record, now=now)
    hers.filter(answer__isnull=False).update(answer=None)
    return hers.exclude(arguments=b"", asked_arguments=b"").update(arguments=b"", asked_arguments=b"")


def live_of_agent(agent_id: UUID) -> QuerySet[ApprovalRequest]:
    return ApprovalRequest.objects.filter(agent_id=agent_id, state__in=ApprovalRequest.LIVE).order_by("number")


def live_of_person(person: User) -> QuerySet[ApprovalRequest]:
    """What she asked for, or an agent of hers, or one that acts for her; and what she has agreed to."""
    hers = Q(person_id=person.pk) | Q(owner_id=person.pk) | Q(asked_by_id=person.pk)
    agreed = Q(decisions__person_id=person.pk, decisions__verdict=Verdict.APPROVE)
    live = ApprovalRequest.objects.filter(hers | agreed, state__in=ApprovalRequest.LIVE)
    return live.distinct().order_by("number")


def void_all(
    requests: Iterable[ApprovalRequest], why: str, *, record: Recorder, now: datetime
) -> list[ApprovalRequest]:
    """Those that were live until now."""
    return [request for request in requests if void(request, why, record=record, now=now)]


def void_of_agent(agent_id: UUID, why: str, *, record: Recorder, now: datetime) -> list[ApprovalRequest]:
    return void_all(live_of_agent(agent_id), why, record=record, now=now)


def void_of_person(person: User, why: str, *, record: Recorder, now: datetime) -> list[ApprovalRequest]:
    return void_all(live_of_person(person), why, record=record, now=now)


def _without_arguments() -> QuerySet[ApprovalRequest]:
    """They have up to a megabyte each."""
    return ApprovalRequest.objects.defer("arguments", "asked_arguments", "answer")


def _is_to_escalate(request: ApprovalRequest, now: datetime) -> bool:
    return any(due <= now for due in _escalations(request))


def _escalations(request: ApprovalRequest) -> Iterator[datetime]:
    for ask in asks_of(request):
        if ask.terms.escalate_to:
            yield request.created_at + timedelta(seconds=ask.terms.escalate_after)


def _naming(request: ApprovalRequest, person: User) -> list[Terms]:
    """Terms by which she was to answer. Those that cannot be read any more keep nobody from leaving."""
    try:
        return [ask.terms for ask in asks_of(request) if person.email in ask.terms.people]
    except TermsError:
        return []


def _escalated(request: ApprovalRequest, *, record: Recorder, now: datetime) -> bool:
    """What she is asked to decide stays the same, so the revision does."""
    waiting = ApprovalRequest.objects.filter(number=request.number, state=State.PENDING, escalated_at=None)
    if not waiting.update(escalated_at=now):
        return False
    request.refresh_from_db()
    teams = sorted({team for ask in asks_of(request) for team in ask.terms.escalate_to})
    record(fact("approval.escalated", request, to=teams))
    return True
