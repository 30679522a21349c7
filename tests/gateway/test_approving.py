"""What humans do with questions, across rooms: each act wakes whoever waits, in its own transaction."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from audit.models import EventRow
from gateway import actions, approving, granting
from gateway.approving import Wanted
from gateway.held_rows import call_digest, opened, sealed, topic_of_request
from gateway.models import Letter, Notice
from gateway.offboardings import begin_offboarding
from governance import canonical
from governance.approval_rows import Changed, DecidedAlready, Ended, NoPattern, NotEligible, State
from governance.conditions import Verdict, compile_condition
from governance.models import Agent, ApprovalRequest, Grant, NotificationChannel, User
from governance.offboarding import Plan
from tests.governance.asking import FRESH, LEADS, Office

pytestmark = [pytest.mark.django_db, pytest.mark.database]

ARGUMENTS = {"amount": 150, "customer": "nobody-else"}
PATTERNS = replace(LEADS, longest_grant=3600)


@pytest.fixture
def office() -> Office:
    office = Office()
    office.now = datetime.now(UTC)
    NotificationChannel.objects.create(name="leads", kind="webhook", url="https://hook.example/")
    return office


def held(office: Office, what: str = "refund 150", **fields: Any) -> ApprovalRequest:
    """With its arguments, as the call path stores it."""
    request = office.ask(fields.pop("terms", PATTERNS), what=what, **fields)
    body = canonical.encode(ARGUMENTS)
    kept = sealed(request.key, body)
    stored = {"arguments": kept, "asked_arguments": kept, "call_digest": call_digest(request, body)}
    ApprovalRequest.objects.filter(number=request.number).update(**stored)
    Letter.objects.all().delete()
    request.refresh_from_db()
    return request


def told(request: ApprovalRequest) -> bool:
    return Letter.objects.filter(topic=topic_of_request(request.key)).exists()


def test_a_decision_wakes_the_call_and_rewrites_what_was_told(office: Office) -> None:
    request = held(office)
    approving.decide(request, office.ballot(request, office.lee), approves=True)

    assert request.state == State.APPROVED
    assert told(request)
    assert Notice.objects.filter(request_number=request.number, kind="asked").exists() is False
    assert EventRow.objects.filter(kind="approval.approved", agent="triage-bot").exists()


def test_a_refused_decision_leaves_no_trace(office: Office) -> None:
    request = held(office)
    with pytest.raises(NotEligible):
        approving.decide(request, office.ballot(request, office.ana), approves=True)
    assert not told(request)
    assert not EventRow.objects.filter(kind="approval.decided").exists()


def test_narrowed_arguments_are_what_runs(office: Office) -> None:
    request = held(office)
    narrower = canonical.parse(b'{"amount": 100, "customer": "nobody-else"}')
    approving.narrow(request, office.ballot(request, office.lee), narrower)

    body = opened(request, bytes(request.arguments))
    assert canonical.parse(body) == narrower
    assert bytes(request.call_digest) == call_digest(request, body)
    assert (request.state, told(request)) == (State.APPROVED, True)
    event = EventRow.objects.get(kind="approval.narrowed")
    assert b"nobody-else" not in bytes(event.header)


def test_a_pattern_fits_the_call_and_not_a_larger_one(office: Office) -> None:
    request = held(office, session="run-1")
    wanted = Wanted(minutes=30, kept=("amount",), at_most=("amount",), only_this_run=True)
    grant = approving.approve_pattern(request, office.ballot(request, office.lee), wanted)

    condition = compile_condition(grant.condition)
    for amount, verdict in ((150, Verdict.TRUE), (20, Verdict.TRUE), (151, Verdict.FALSE), (-1, Verdict.FALSE)):
        known = {"args": {**ARGUMENTS, "amount": amount}, "person": {"email": "ana@example.com"}, "findings": []}
        assert condition.evaluate(known) is verdict
    assert grant.session == "run-1"
    assert Grant.objects.get().rules == ["refunds v1#1"]


def test_a_pattern_is_for_whom_the_agent_acted_and_for_nobody_else(office: Office) -> None:
    """Else her own word would stand for her own calls, once the agent acts for her or is hers."""
    mine = held(office)
    for_max = held(office, "for-max", person_id=office.max.pk, person=office.max.email)
    for request, whose in ((mine, "ana@example.com"), (for_max, "max@example.com")):
        wanted = Wanted(minutes=30, kept=())
        grant = approving.approve_pattern(request, office.ballot(request, office.lee), wanted)
        condition = compile_condition(grant.condition)
        for email in ("ana@example.com", "max@example.com", "lee@example.com"):
            verdict = condition.evaluate({"args": ARGUMENTS, "person": {"email": email}, "findings": []})
            assert (verdict is Verdict.TRUE) is (email == whose)


def test_no_pattern_where_arguments_are_not_kept(office: Office) -> None:
    """A grant and its evidence are read by people who may not read arguments."""
    request = held(office)
    ApprovalRequest.objects.filter(number=request.number).update(asked_arguments=b"")
    request.refresh_from_db()
    with pytest.raises(NoPattern, match="keeps no arguments"):
        approving.approve_pattern(request, office.ballot(request, office.lee), Wanted(minutes=30, kept=("amount",)))
    assert not Grant.objects.exists()


def test_no_pattern_on_what_the_call_does_not_have(office: Office) -> None:
    request = held(office)
    with pytest.raises(NoPattern, match="cannot be kept"):
        approving.approve_pattern(request, office.ballot(request, office.lee), Wanted(minutes=30, kept=("note",)))
    gone = held(office, "gone")
    ApprovalRequest.objects.filter(number=gone.number).update(arguments=b"")
    gone.refresh_from_db()
    with pytest.raises(NoPattern, match="only as it is"):
        approving.approve_pattern(gone, office.ballot(gone, office.lee), Wanted(minutes=30, kept=()))
    assert not Grant.objects.exists()


def test_who_asked_withdraws_and_nobody_else(office: Office) -> None:
    request = held(office)
    with pytest.raises(NotEligible):
        approving.cancel(request, by=office.lee)
    assert approving.cancel(request, by=office.ann).state == State.CANCELLED
    assert told(request)
    with pytest.raises(Ended, match=r"withdrawn by ann@example\.com"):
        approving.cancel(request, by=office.ana)


def test_an_approver_stops_the_agent_and_all_it_asks(office: Office) -> None:
    request, other = held(office), held(office, "other")
    with pytest.raises(NotEligible):
        approving.suspend_agent(request, by=office.mallory)

    assert approving.suspend_agent(request, by=office.lee)

    assert Agent.objects.get(pk=office.agent.pk).status == Agent.Status.SUSPENDED
    for row in (request, other):
        row.refresh_from_db()
        assert (row.state, row.ended_because) == (State.VOID, "triage-bot was suspended by lee@example.com")
        assert told(row)
    assert not approving.suspend_agent(request, by=office.lee)


def test_many_alike_are_decided_at_once_each_by_its_own_digest(office: Office) -> None:
    requests = [held(office, f"refund {number}") for number in range(3)]
    ballots = [(request, office.ballot(request, office.lee)) for request in requests]
    approving.decide(requests[1], ballots[1][1], approves=False)

    ended = approving.decide_many(ballots, approves=True)

    assert [type(problem) for _, problem in ended] == [type(None), Ended, type(None)]
    assert [row.state for row, _ in ended] == [State.APPROVED, State.DENIED, State.APPROVED]


def test_what_differs_or_matters_is_read_one_by_one(office: Office) -> None:
    low, other_terms = held(office), held(office, "terms", terms=LEADS)
    labelled = held(office, "labelled", labels=["untrusted"])
    for chosen in ([low, other_terms], [labelled], [low] * 51):
        with pytest.raises(Changed):
            approving.decide_many([(row, office.ballot(row, office.lee)) for row in chosen], approves=True)
    office.tool.risk = "high"
    office.tool.save()
    with pytest.raises(Changed, match="low risk"):
        approving.decide_many([(low, office.ballot(low, office.lee))], approves=True)
    assert not low.decisions.exists()


def test_the_clock_ends_and_escalates(office: Office) -> None:
    late = replace(LEADS, escalate_after=60, escalate_to=("support",))
    office.now -= timedelta(seconds=LEADS.pending)
    over = held(office)
    office.now += timedelta(seconds=LEADS.pending - 120)
    waiting = held(office, "waiting", terms=late)

    assert approving.look_at_clock() == 2
    assert approving.look_at_clock() == 0
    over.refresh_from_db()
    waiting.refresh_from_db()
    assert (over.state, waiting.state, told(over)) == (State.EXPIRED, State.PENDING, True)
    assert waiting.escalated_at is not None
    assert Notice.objects.filter(request_number=waiting.number, kind="escalated").exists()


def test_somebody_who_leaves_takes_her_yes_along_and_the_call_is_told(office: Office) -> None:
    request = held(office)
    approving.decide(request, office.ballot(request, office.lee), approves=True)
    Letter.objects.all().delete()

    begin_offboarding(office.lee, plan=Plan(), by="person:bea@example.com")

    request.refresh_from_db()
    assert (request.state, told(request)) == (State.VOID, True)


def test_two_accounts_of_one_human_through_two_doors(office: Office) -> None:
    request = held(office, terms=replace(LEADS, count=2))
    approving.decide(request, office.ballot(request, office.lee), approves=True)
    with pytest.raises(DecidedAlready):
        approving.decide(request, office.ballot(request, office.lex, channel="api"), approves=True)


def test_broken_glass_is_told_to_channels_at_once(office: Office) -> None:
    sam = User.objects.create_user("sam@example.com", is_staff=True, duties=["security"])
    grant = granting.break_glass(
        sam,
        agent=None,
        bundle=office.bundle,
        minutes=15,
        reason="on fire",
        authentication=replace(FRESH, at=datetime.now(UTC)),
    )
    assert (grant.person, grant.agent) == (sam, None)
    assert Notice.objects.filter(kind="break_glass").exists()
    assert EventRow.objects.get(kind="break_glass.taken").person == "sam@example.com"
    assert granting.revoke_grant(grant, by=sam)


def test_a_key_on_behalf_of_a_person_says_so(office: Office) -> None:
    issued = actions.issue_key(office.agent, by="t", expires_in=None, on_behalf_of=office.kim)
    assert issued.credential.person == office.kim
    assert isinstance(issued.credential.pk, UUID)
    assert EventRow.objects.filter(kind="key.issued").exists()
