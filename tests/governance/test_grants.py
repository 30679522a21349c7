"""Grants: broken glass, its review, what a person's leaving ends."""

from dataclasses import replace
from datetime import timedelta

import pytest

from governance import grants, offboarding
from governance.agent_keys import issue_key
from governance.approval_rows import Authentication, NotEligible, State, StepUpNeeded
from governance.grants import CannotGrant
from governance.models import Agent, AgentCredential, Grant, OnCallShift, User
from governance.offboarding import Plan
from tests.governance.asking import FRESH, LEADS, NOW, Office

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def sam() -> User:
    return User.objects.create_user("sam@example.com", is_staff=True, duties=["security"])


def take(
    office: Office, by: User, *, minutes: int = 30, proof: Authentication = FRESH, reason: str = "on fire"
) -> Grant:
    return grants.break_glass(
        by,
        agent=office.agent,
        bundle=office.bundle,
        lasting=timedelta(minutes=minutes),
        reason=reason,
        authentication=proof,
        record=office.facts.append,
        now=office.now,
    )


def review(office: Office, grant: Grant, by: User, note: str = "rightly") -> bool:
    return grants.review_grant(
        grant, by=by, note=note, snapshot=office.snapshot, record=office.facts.append, now=office.now
    )


def test_broken_glass_is_loud_and_reviewed_by_another_human(office: Office, sam: User) -> None:
    grant = take(office, sam)
    twin = User.objects.create_user("sam2@example.com", same_as=sam)

    assert (grant.kind, grant.ends_at, grant.approvers) == ("break_glass", NOW + timedelta(minutes=30), [sam.pk.hex])
    assert office.kinds == ["break_glass.taken"]
    assert list(grants.unreviewed()) == [grant]
    for taker in (sam, twin):
        with pytest.raises(NotEligible, match="does not review"):
            review(office, grant, taker)
    with pytest.raises(CannotGrant):
        review(office, grant, office.bea, note=" ")
    assert review(office, grant, office.bea)
    assert not review(office, grant, office.bea)
    assert not grants.unreviewed().exists()


@pytest.mark.parametrize(
    ("proof", "refusal"),
    [
        (replace(FRESH, has_second_factor=False), NotEligible),
        (replace(FRESH, at=None), StepUpNeeded),
        (replace(FRESH, at=NOW - timedelta(minutes=16)), StepUpNeeded),
    ],
)
def test_it_takes_a_fresh_sign_in_with_a_second_factor(
    office: Office, sam: User, proof: Authentication, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        take(office, sam, proof=proof)


def test_it_takes_the_right_a_reason_and_a_short_time(office: Office, sam: User) -> None:
    with pytest.raises(NotEligible):
        take(office, office.lee)
    for wrong in ({"minutes": 61}, {"minutes": 0}, {"reason": " "}):
        with pytest.raises(CannotGrant):
            take(office, sam, **wrong)
    assert not Grant.objects.exists()


def test_a_grant_is_revoked_once(office: Office, sam: User) -> None:
    grant = take(office, sam)
    assert grants.revoke_grant(grant, by="person:sam@example.com", record=office.facts.append, now=office.now)
    assert not grants.revoke_grant(grant, by="person:sam@example.com", record=office.facts.append, now=office.now)
    over = take(office, sam)
    late = over.ends_at
    assert not grants.revoke_grant(over, by="person:sam@example.com", record=office.facts.append, now=late)


def test_leaving_ends_what_she_asked_what_she_agreed_to_and_when_she_is_on_call(office: Office, sam: User) -> None:
    agreed, pending = office.decide(office.ask(), office.lee), office.ask(what="other", person_id=office.lee.pk)
    untouched = office.ask(what="third")
    broken = take(office, office.bea)
    hers = Grant.objects.create(
        kind="elevation", person=office.lee, bundle=office.bundle, starts_at=NOW, ends_at=NOW + timedelta(hours=1)
    )
    team = office.lee.teams.get()
    past, coming = (
        OnCallShift.objects.create(team=team, person=office.lee, starts_at=start, ends_at=start + timedelta(hours=1))
        for start in (NOW - timedelta(days=20_000), NOW)
    )
    other = Agent.objects.create(name="night-bot", owner=office.kim)
    key = issue_key(other, by="t", record=office.facts.append, now=NOW, expires_at=None, person=office.lee).credential

    found = offboarding.counts(offboarding.findings(office.lee, plan=Plan()))
    offboarding.begin(office.lee, plan=Plan(), by="person:bea@example.com", record=office.facts.append, now=NOW)

    assert (found["approval request"], found["grant"], found["on-call shift"], found["agent key"]) == (2, 1, 1, 1)
    for request, state in ((agreed, State.VOID), (pending, State.VOID), (untouched, State.PENDING)):
        request.refresh_from_db()
        assert request.state == state
    assert agreed.ended_because == "lee@example.com was offboarded"
    for grant in (hers, broken):
        grant.refresh_from_db()
    assert hers.revoked_by == "person:bea@example.com"
    assert broken.revoked_at is None
    assert list(OnCallShift.objects.all()) == [past]
    assert coming.pk is not None
    assert AgentCredential.objects.get(pk=key.pk).revoked_at == NOW


def test_a_grant_that_rests_on_her_word_ends_with_her(office: Office) -> None:
    request = office.ask(LEADS)
    grant = Grant.objects.create(
        kind="consent",
        agent=office.agent,
        tool=office.tool,
        approvers=[office.lee.pk.hex],
        request_number=request.number,
        starts_at=NOW,
        ends_at=NOW + timedelta(hours=1),
    )
    assert grants.live_of_person(office.lee) == [grant]
    assert grants.live_of_person(office.ana) == [grant]
    assert grants.live_of_person(office.kim) == []
    assert grants.revoke_of_person(office.lee, by="t", record=office.facts.append, now=NOW) == 1
