"""Access reviews through the screens: begun, attested by others, carried out at once, signed off."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from audit.models import EventRow
from gateway.access_reviews import remind_due
from gateway.console.home.attention import needs_of
from gateway.models import Notice
from governance.access_reviews import items_digest
from governance.fence.actor import governed_change
from governance.models import AccessReview, AccessReviewItem, Agent, Bundle, Grant, Role, Team, User
from tests.gateway.signing_in import PASSWORD, sign_in

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC)
IT = "person:noor@example.com"


@pytest.fixture
def lee() -> User:
    """Manages Ana, who has an agent; both hold `support`, Ana through her team's parent."""
    with governed_change(by=IT):
        lee = User.objects.create_user("lee@example.com", PASSWORD, name="Lee Wong")
        ana = User.objects.create_user("ana@example.com", PASSWORD, manager=lee)
        User.objects.create_user("gone@example.com", is_active=False, manager=lee)
        support = Team.objects.create(name="support")
        ana.teams.add(Team.objects.create(name="support-leads", parent=support))
        role = Role.objects.create(name="support-agent")
        role.bundles.add(Bundle.objects.create(name="support"))
        role.teams.add(support)
        agent = Agent.objects.create(name="triage-bot", owner=ana)
        role.agents.add(agent)
        Grant.objects.create(
            kind="elevation", person=ana, bundle=Bundle.objects.get(), created_by=IT,
            starts_at=NOW, ends_at=NOW + timedelta(hours=3),
        )  # fmt: skip
    return lee


@pytest.fixture
def it(lee: User) -> Client:
    return sign_in("it-admin", email="noor@example.com")


def begin(it: Client, *, status: int = 302, **fields: str) -> Any:
    due = f"{datetime.now(UTC) + timedelta(days=14):%Y-%m-%dT%H:%M}"
    typed = {"title": "Q4", "scope": "all", "scope_name": "", "reviewers": "managers", "named": "", "due_at": due}
    answer = it.post("/admin/access-reviews/", typed | fields)
    assert answer.status_code == status, answer.text
    return answer


def browser_of(person: User) -> Client:
    client = Client()
    client.force_login(person, backend="governance.duties.DutyBackend")
    return client


def attest(client: Client, item: AccessReviewItem, decision: str, reason: str = "needed for the desk") -> Any:
    return client.post(f"/reviews/{item.pk}/", {"decision": decision, "reason": reason})


def kinds() -> list[str]:
    rows = EventRow.objects.filter(kind__startswith="access_review.").order_by("id")
    return list(rows.values_list("kind", flat=True))


def held() -> set[tuple[str, str, str]]:
    items = AccessReviewItem.objects.select_related("reviewer")
    return {(item.subject, item.through, item.reviewer.email if item.reviewer else "") for item in items}


def test_it_holds_what_live_people_and_agents_have_and_goes_to_their_managers(it: Client) -> None:
    begin(it)
    lee = "lee@example.com"
    assert held() == {("ana@example.com", "team", lee), ("ana@example.com", "grant", lee), ("triage-bot", "role", lee)}
    assert kinds() == ["access_review.started"]


@pytest.mark.parametrize(
    ("scope", "name", "through"),
    [
        ("role", "support-agent", {"team", "role"}),
        ("bundle", "support", {"team", "role", "grant"}),
        ("team", "support", {"team", "role", "grant"}),
    ],
)
def test_it_can_be_of_one_thing(scope: str, name: str, through: set[str], it: Client) -> None:
    begin(it, scope=scope, scope_name=name)
    assert {item.through for item in AccessReviewItem.objects.all()} == through


def test_owners_attest_for_their_agents_and_managers_for_people(it: Client) -> None:
    begin(it, reviewers="owners")
    assert ("triage-bot", "role", "ana@example.com") in held()
    assert ("ana@example.com", "team", "lee@example.com") in held()


def test_named_persons_never_get_their_own(it: Client, lee: User) -> None:
    begin(it, reviewers="named", named="ana@example.com, lee@example.com")
    assert {reviewer for *_, reviewer in held()} == {"lee@example.com"}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"due_at": "2020-01-01"}, "due in the past"),
        ({"reviewers": "named"}, "Name at least one person"),
        ({"scope": "role", "scope_name": "nothing"}, "There is no role of this name"),
        ({"reviewers": "named", "named": "gone@example.com"}, "nobody active"),
    ],
)
def test_one_that_cannot_be_is_shown_again(fields: dict[str, str], why: str, it: Client) -> None:
    assert why in begin(it, status=400, **fields).text
    assert not AccessReview.objects.exists()


@pytest.mark.database
def test_a_revocation_is_over_with_its_decision(it: Client, lee: User) -> None:
    begin(it)
    client = browser_of(lee)
    assert "triage-bot" in client.get("/reviews/").text
    for item in AccessReviewItem.objects.all():
        assert attest(client, item, "revoke", "left the desk").status_code == 302
    assert not Role.objects.get().agents.exists()
    assert not User.objects.get(email="ana@example.com").teams.exists()
    assert Grant.objects.get().revoked_by == "person:lee@example.com"
    assert kinds() == ["access_review.started", *["access_review.revoked"] * 3]
    assert {item.effect for item in AccessReviewItem.objects.all()} == {
        "the role was taken away",
        "taken out of the team",
        "the grant was ended",
    }


def test_what_was_held_stands_as_it_was(it: Client, lee: User) -> None:
    begin(it)
    before = items_digest(AccessReviewItem.objects.all())
    with governed_change(by=IT):
        Role.objects.update(name="renamed")
        Agent.objects.update(name="other-bot")
    assert items_digest(AccessReviewItem.objects.all()) == before
    assert "role support-agent" in browser_of(lee).get("/reviews/").text


def test_nobody_attests_her_own_access_or_what_is_another_s(it: Client, lee: User) -> None:
    begin(it)
    own = AccessReviewItem.objects.get(through="team")
    AccessReviewItem.objects.filter(pk=own.pk).update(reviewer=User.objects.get(email="ana@example.com"))
    ana = browser_of(User.objects.get(email="ana@example.com"))
    for item in AccessReviewItem.objects.all():
        assert attest(ana, item, "keep").status_code == 404
    assert "Nothing waits for your word" in ana.get("/reviews/").text
    assert kinds() == ["access_review.started"]


def test_a_decision_takes_a_reason_and_is_made_once(it: Client, lee: User) -> None:
    begin(it)
    client, item = browser_of(lee), AccessReviewItem.objects.filter(through="role").get()
    attest(client, item, "keep", " ")
    attest(client, item, "whatever")
    assert AccessReviewItem.objects.get(pk=item.pk).decision == ""
    attest(client, item, "keep")
    assert attest(client, item, "revoke").status_code == 404
    assert AccessReviewItem.objects.get(pk=item.pk).decision == "keep"
    assert Role.objects.get().agents.exists()


def test_what_is_nobody_s_is_for_those_who_look_after_reviews(it: Client, lee: User) -> None:
    User.objects.filter(email="ana@example.com").update(manager=None)
    begin(it)
    assert AccessReviewItem.objects.filter(reviewer=None).count() == 3
    assert it.get("/reviews/").text.count('value="revoke"') == 3
    assert browser_of(lee).get("/reviews/").text.count('value="revoke"') == 0


def test_it_is_signed_off_when_all_is_decided_or_it_is_due(it: Client, lee: User) -> None:
    begin(it)
    review = AccessReview.objects.get()
    address = f"/admin/access-reviews/{review.pk}/"
    assert "3 are not decided yet" in it.post(address, {"summary": "fine"}).text
    client = browser_of(lee)
    for item in review.items.all():
        attest(client, item, "keep")
    assert it.post(address, {"summary": " "}).status_code == 400
    assert it.post(address, {"summary": "All needed."}).status_code == 302
    review.refresh_from_db()
    assert (review.state, review.counts) == ("closed", {"keep": 3})
    told = json.loads(bytes(EventRow.objects.get(kind="access_review.closed").header))["details"]
    assert told["sha256"] == review.digest == items_digest(review.items.all())
    assert "All needed." in it.get(address).text


def test_reviewers_are_told_and_reminded_and_home_says_when_it_is_overdue(
    it: Client, lee: User, settings: Settings
) -> None:
    settings.EMAIL_HOST = "mail.example.com"
    begin(it)
    assert Notice.objects.filter(kind="attest", person_id=lee.pk).count() == 1
    assert remind_due() == 0
    review = AccessReview.objects.get()
    past = datetime.now(UTC) - timedelta(days=3)
    AccessReview.objects.update(due_at=past, reminded_at=past)
    assert remind_due() == 1
    assert remind_due() == 0
    assert it.post(f"/admin/access-reviews/{review.pk}/remind/").status_code == 302
    assert Notice.objects.filter(kind="attest", person_id=lee.pk).count() == 3
    noor = User.objects.get(email="noor@example.com")
    titles = {need.title for need in needs_of(noor, datetime.now(UTC))}
    assert "Access reviews" in titles
    assert {need.title for need in needs_of(lee, datetime.now(UTC))} == {"Access to attest, overdue"}
    assert "Overdue" in it.get("/admin/access-reviews/").text
    assert it.post(f"/admin/access-reviews/{review.pk}/", {"summary": "Late."}).status_code == 302
    assert AccessReview.objects.get().counts == {"open": 3}
