"""Questions to humans: who decides, on what, how often; and what a decision that comes too late is told."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError

from governance import approval_endings, approvals
from governance.access_requests import AccessWish, ask_for_access
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
    WrongPlace,
    standing_of,
)
from governance.approval_terms import Terms
from governance.approvals import MOST_WAITING, Narrowed, Pattern, TooManyQuestions
from governance.canonical import digest
from governance.decision import Ask
from governance.models import ApprovalRequest, Grant, OnCallShift, Team, User
from tests.governance.asking import LEADS, NOW, Office

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TWO = replace(LEADS, count=2)


@pytest.fixture
def office() -> Office:
    return Office()


def test_one_yes_of_a_lead_approves_it(office: Office) -> None:
    request = office.decide(office.ask(), office.lee, reason="customer is right")

    assert request.state == State.APPROVED
    assert request.use_before == NOW + timedelta(seconds=LEADS.use_within)
    assert office.kinds == ["approval.asked", "approval.decided", "approval.approved"]
    assert office.facts[-1].details["approvers"] == ["lee@example.com"]
    assert office.facts[-1].subject == "agent:triage-bot"


def test_the_same_call_is_one_question(office: Office) -> None:
    first, second = office.ask(), office.ask()

    assert first.number == second.number
    assert office.kinds == ["approval.asked"]
    assert office.ask(what="refund 200").number != first.number


@pytest.mark.parametrize("who", ["ana", "ann", "mallory"])
def test_who_wants_it_or_is_not_named_does_not_decide(office: Office, who: str) -> None:
    request = office.ask()
    with pytest.raises(NotEligible):
        office.decide(request, getattr(office, who))
    with pytest.raises(NotEligible):
        office.decide(request, getattr(office, who), approves=False)


def test_an_owner_of_gatehouse_does_not_approve_her_own(office: Office) -> None:
    office.agent.owner = office.bea
    office.agent.save()
    with pytest.raises(NotEligible, match="Ask somebody else"):
        office.decide(office.ask(Terms()), office.bea)


def test_neither_does_the_person_it_acts_for_nor_who_asked(office: Office) -> None:
    for_kim = office.ask(person_id=office.kim.pk)
    by_max = office.ask(what="other", asked_by_id=office.max.pk)
    with pytest.raises(NotEligible):
        office.decide(for_kim, office.kim)
    with pytest.raises(NotEligible):
        office.decide(by_max, office.max)
    assert office.decide(for_kim, office.max).state == State.APPROVED


def test_two_accounts_of_one_human_are_one(office: Office) -> None:
    request = office.ask(TWO)
    assert office.decide(request, office.lee).state == State.PENDING
    with pytest.raises(DecidedAlready):
        office.decide(request, office.lex)
    assert office.decide(request, office.kim).state == State.APPROVED


def test_an_account_linked_afterwards_counts_no_more(office: Office) -> None:
    request = office.ask(replace(LEADS, count=3))
    office.decide(request, office.lee)
    office.decide(request, office.kim)
    office.kim.same_as = office.lee
    office.kim.save()
    assert office.decide(request, office.max).state == State.PENDING
    assert [agreement.missing for agreement in standing_of(request, office.snapshot).agreements] == [1]


def test_who_meets_several_terms_counts_once_in_each(office: Office) -> None:
    finance = Team.objects.create(name="finance")
    office.lee.teams.add(finance)
    request = office.ask([Ask("a", "", TWO), Ask("b", "", Terms(teams=("finance",)))])

    assert office.decide(request, office.lee).state == State.PENDING
    assert [each.missing for each in standing_of(request, office.snapshot).agreements] == [1, 0]
    assert office.decide(request, office.kim).state == State.APPROVED


def test_one_no_ends_it_and_the_next_is_told_who_and_when(office: Office) -> None:
    request = office.decide(office.ask(TWO), office.lee, approves=False, reason="not this customer")

    assert request.state == State.DENIED
    with pytest.raises(Ended, match=r"denied since .*: denied by lee@example.com: not this customer"):
        office.decide(request, office.kim)
    assert office.ask().number != request.number


def test_two_must_refuse_where_the_rule_says_so(office: Office) -> None:
    request = office.ask(replace(LEADS, denials=2))
    assert office.decide(request, office.lee, approves=False).state == State.PENDING
    assert office.decide(request, office.kim, approves=False).state == State.DENIED


def test_an_approved_one_is_not_decided_again(office: Office) -> None:
    request = office.decide(office.ask(), office.lee)
    with pytest.raises(Ended, match=r"approved by lee@example\.com at 18:00:00 UTC"):
        office.decide(request, office.kim, approves=False)


def test_what_she_was_not_shown_is_not_decided(office: Office) -> None:
    request = office.ask()
    for stale in ({"digest": bytes(32)}, {"revision": 7}):
        with pytest.raises(Changed, match="Read it again"):
            office.decide(request, office.lee, **stale)
    assert not request.decisions.exists()


def test_narrowed_arguments_want_a_new_yes_of_everybody(office: Office) -> None:
    request = office.ask(replace(LEADS, count=3))
    seen_before = office.ballot(request, office.max)
    office.decide(request, office.lee)
    narrowed = Narrowed(b"sealed", digest(b"test", b"refund 100"))
    request = approvals.narrow(
        request,
        office.ballot(request, office.kim),
        narrowed,
        snapshot=office.snapshot,
        record=office.facts.append,
        now=office.now,
    )

    assert (request.state, bytes(request.arguments), request.revision) == (State.PENDING, b"sealed", 1)
    assert bytes(request.asked_digest) == digest(b"test", b"refund 150")
    assert [each.missing for each in standing_of(request, office.snapshot).agreements] == [2]
    with pytest.raises(Changed):
        approvals.decide(
            request, seen_before, approves=True, snapshot=office.snapshot, record=office.facts.append, now=office.now
        )
    office.decide(request, office.lee)
    assert office.decide(request, office.max).state == State.APPROVED
    assert request.decisions.count() == 4


def test_nobody_narrows_back_to_what_she_has_agreed_to(office: Office) -> None:
    """Her first yes on it counts again as it is."""
    request = office.ask(replace(LEADS, count=3))
    first = bytes(request.call_digest)
    office.decide(request, office.lee)

    def narrow(by: User, call: bytes) -> None:
        approvals.narrow(
            request,
            office.ballot(request, by),
            Narrowed(b"sealed", call),
            snapshot=office.snapshot,
            record=office.facts.append,
            now=office.now,
        )

    narrow(office.kim, digest(b"test", b"refund 100"))
    with pytest.raises(DecidedAlready):
        narrow(office.lee, first)


def test_the_same_arguments_are_no_narrowing(office: Office) -> None:
    request = office.ask()
    same = Narrowed(b"sealed", bytes(request.call_digest))
    with pytest.raises(Changed, match="Nothing was narrowed"):
        approvals.narrow(
            request,
            office.ballot(request, office.lee),
            same,
            snapshot=office.snapshot,
            record=office.facts.append,
            now=office.now,
        )


def test_what_the_rule_asks_for_must_be_there(office: Office) -> None:
    request = office.ask(replace(LEADS, needs_reason=True, ticket="INC[0-9]+", step_up=300))

    with pytest.raises(Incomplete) as caught:
        office.decide(request, office.lee)
    assert caught.value.field == "reason"
    with pytest.raises(Incomplete) as caught:
        office.decide(request, office.lee, reason="why", ticket="none")
    assert caught.value.field == "ticket"
    for at in (None, NOW - timedelta(seconds=301)):
        stale = Authentication("password", at)
        with pytest.raises(StepUpNeeded):
            office.decide(request, office.lee, reason="why", ticket="INC7", authentication=stale)
    with pytest.raises(WrongPlace):
        office.decide(request, office.lee, reason="why", ticket="INC7", channel="slack")
    assert office.decide(request, office.lee, reason="why", ticket="INC7").state == State.APPROVED


def test_to_refuse_needs_no_fresh_sign_in(office: Office) -> None:
    request = office.ask(replace(LEADS, step_up=300))
    stale = Authentication("password", None)
    assert office.decide(request, office.lee, approves=False, authentication=stale).state == State.DENIED


def test_time_ends_it_before_anybody_has_looked(office: Office) -> None:
    request = office.ask()
    office.wait(seconds=LEADS.pending)
    with pytest.raises(Ended, match="expired"):
        office.decide(request, office.lee)
    again = office.ask()
    assert again.number != request.number
    request.refresh_from_db()
    assert (request.state, request.ended_because) == (State.EXPIRED, "nobody decided in time")


def test_an_approval_that_is_not_used_ends(office: Office) -> None:
    request = office.decide(office.ask(), office.lee)
    office.wait(seconds=LEADS.use_within)

    ended = approval_endings.expire_due(record=office.facts.append, now=office.now)

    assert [row.number for row in ended] == [request.number]
    assert ended[0].ended_because == "approved, but not used in time"
    assert not approval_endings.anything_due(office.now)


def test_it_goes_to_others_when_nobody_answers(office: Office) -> None:
    desk = Team.objects.create(name="night-desk")
    office.mallory.teams.add(desk)
    request = office.ask(replace(LEADS, escalate_after=300, escalate_to=("night-desk",)))

    with pytest.raises(NotEligible):
        office.decide(request, office.mallory)
    assert not approval_endings.escalate_due(record=office.facts.append, now=office.now)
    office.wait(seconds=300)
    assert approval_endings.anything_due(office.now)
    assert len(approval_endings.escalate_due(record=office.facts.append, now=office.now)) == 1
    assert not approval_endings.escalate_due(record=office.facts.append, now=office.now)
    assert office.decide(request, office.mallory).state == State.APPROVED


def test_who_is_on_call_decides_during_her_shift(office: Office) -> None:
    support = Team.objects.get(name="support")
    OnCallShift.objects.create(team=support, person=office.mallory, starts_at=NOW, ends_at=NOW + timedelta(minutes=2))
    on_call = Terms(on_call=("support",))
    request, later = office.ask(on_call), office.ask(on_call, what="later")

    office.decide(request, office.mallory)
    office.wait(minutes=2)
    assert standing_of(request, office.snapshot).is_approved
    with pytest.raises(NotEligible):
        office.decide(later, office.mallory)


def test_the_manager_and_the_resource_owner_decide(office: Office) -> None:
    office.ana.manager = office.mallory
    office.ana.save()
    office.connector.owner = office.kim
    office.connector.save()

    assert office.decide(office.ask(Terms(manager=True)), office.mallory).state == State.APPROVED
    resource = office.ask(Terms(resource_owner=True), what="other")
    with pytest.raises(NotEligible):
        office.decide(resource, office.lee)
    assert office.decide(resource, office.kim).state == State.APPROVED


def test_naming_nobody_asks_those_with_the_duty(office: Office) -> None:
    approver = User.objects.create_user("app@example.com", duties=["approver"], is_staff=True)
    request = office.ask(Terms())
    with pytest.raises(NotEligible):
        office.decide(request, office.lee)
    assert office.decide(request, approver).state == State.APPROVED


def test_an_approver_who_left_has_not_agreed(office: Office) -> None:
    request = office.decide(office.ask(), office.lee)
    assert standing_of(request, office.snapshot).is_approved
    office.lee.teams.clear()
    assert not standing_of(request, office.snapshot).is_approved


def test_somebody_inactive_decides_nothing_even_with_a_stale_view_of_people(office: Office) -> None:
    request, seen = office.ask(), office.snapshot
    ballot = office.ballot(request, office.lee)
    User.objects.filter(pk=office.lee.pk).update(is_active=False)
    with pytest.raises(NotEligible, match="not active"):
        approvals.decide(request, ballot, approves=True, snapshot=seen, record=office.facts.append, now=office.now)


def test_what_ends_for_an_agent_or_person(office: Office) -> None:
    mine, agreed = office.ask(), office.decide(office.ask(TWO, what="other"), office.kim)
    other = office.ask(what="third", agent_id=None, agent="", owner_id=office.max.pk)

    gone = approval_endings.void_of_person(office.kim, "left", record=office.facts.append, now=office.now)
    assert [row.number for row in gone] == [agreed.number]
    gone = approval_endings.void_of_agent(office.agent.pk, "stopped", record=office.facts.append, now=office.now)
    assert [row.number for row in gone] == [mine.number]
    assert approval_endings.void_of_person(office.max, "left", record=office.facts.append, now=office.now) != []
    other.refresh_from_db()
    assert (other.state, other.ended_because) == (State.VOID, "left")
    assert not approvals.void(mine, "again", record=office.facts.append, now=office.now)


def test_arguments_are_emptied_a_month_after_the_end_and_those_that_are_not_recorded_with_it(office: Office) -> None:
    old = office.decide(office.ask(arguments=b"sealed", asked_arguments=b"sealed"), office.lee, approves=False)
    bare = office.decide(office.ask(what="bare", arguments=b"sealed"), office.lee, approves=False)
    live = office.ask(what="live", arguments=b"sealed")

    assert (bytes(old.arguments), bytes(bare.arguments)) == (b"sealed", b"")
    assert approval_endings.empty_old(now=office.now) == 0
    office.wait(days=31)
    assert approval_endings.empty_old(now=office.now) == 1
    kept = dict(ApprovalRequest.objects.values_list("number", "arguments"))
    assert {number: bytes(body) for number, body in kept.items()} == {
        old.number: b"",
        bare.number: b"",
        live.number: b"sealed",
    }


def test_an_agent_that_asks_too_much_is_stopped(office: Office) -> None:
    for number in range(MOST_WAITING):
        office.ask(what=f"refund {number}")
    with pytest.raises(TooManyQuestions):
        office.ask(what="one more")


def test_for_whom_an_agent_acts_does_not_give_it_access(office: Office) -> None:
    """It asked because she told it to."""
    office.bundle.versions.create(number=1, state="published", created_by="test")
    wish = AccessWish(office.agent, None, office.bundle, None, 30, "It is due.", asked_by=None, acting_for=office.lee)
    request, _ = ask_for_access(wish, snapshot=office.snapshot, record=office.facts.append, now=office.now)
    User.objects.filter(pk__in=(office.lee.pk, office.kim.pk)).update(is_staff=True, duties=["approver"])
    with pytest.raises(NotEligible, match="Ask somebody else"):
        office.decide(request, office.lee)
    office.decide(request, office.kim)
    grant = Grant.objects.get()
    assert (grant.agent, grant.person) == (office.agent, None)


def test_neither_does_a_person_flood_those_who_decide(office: Office) -> None:
    """Each question is a mail to everybody who may decide it."""
    hers: dict[str, Any] = {
        "kind": "access",
        "agent_id": None,
        "agent": "",
        "person_id": office.mallory.pk,
        "person": "mallory",
    }
    for number in range(MOST_WAITING):
        office.ask(what=f"access {number}", **hers)
    with pytest.raises(TooManyQuestions, match="of mallory wait already"):
        office.ask(what="one more", **hers)
    office.ask(what="of somebody else", **hers | {"person_id": office.kim.pk})


def give_pattern(office: Office, request: ApprovalRequest, by: User, **fields: object) -> Grant:
    pattern = replace(Pattern(timedelta(minutes=30), "args.amount <= 150"), **fields)  # type: ignore[arg-type]
    return approvals.approve_pattern(
        request,
        office.ballot(request, by),
        pattern,
        snapshot=office.snapshot,
        record=office.facts.append,
        now=office.now,
    )


def test_a_pattern_is_a_grant_that_approves_this_one_too(office: Office) -> None:
    request = office.ask(replace(LEADS, longest_grant=3600), session="run-1")
    grant = give_pattern(office, request, office.lee, max_uses=5, only_this_run=True)

    assert request.state == State.APPROVED
    assert request.grant_id == grant.pk
    assert (grant.kind, grant.agent, grant.tool, grant.session) == ("consent", office.agent, office.tool, "run-1")
    assert (grant.rules, grant.approvers) == (["refunds v1#1"], [office.lee.pk.hex])
    assert (grant.ends_at, grant.use.max_uses) == (NOW + timedelta(minutes=30), 5)
    assert office.kinds[-1] == "grant.given"


@pytest.mark.parametrize(
    ("terms", "lasting", "why"),
    [
        (LEADS, 10, "each call to be decided"),
        (replace(LEADS, longest_grant=600), 11, "for 10m at most"),
        (replace(LEADS, longest_grant=3600, count=2), 10, "Others must agree too"),
    ],
)
def test_no_pattern_beyond_what_the_rule_allows(office: Office, terms: Terms, lasting: int, why: str) -> None:
    request = office.ask(terms)
    with pytest.raises(NoPattern, match=why):
        give_pattern(office, request, office.lee, lasting=timedelta(minutes=lasting))
    assert not Grant.objects.exists()
    request.refresh_from_db()
    assert request.state == State.PENDING


def test_every_refusal_names_a_way_out(office: Office) -> None:
    request = office.ask(replace(LEADS, needs_reason=True))
    with pytest.raises(CannotDecide, match="Write one"):
        office.decide(request, office.lee)


def test_the_database_lets_a_human_decide_once_on_one_thing(office: Office) -> None:
    request = office.decide(office.ask(TWO), office.lee)
    decision = request.decisions.get()
    decision.pk, decision.person_id = None, office.lex.pk
    with pytest.raises(IntegrityError):
        decision.save(force_insert=True)
