"""Asking for access on one's own page, breaking the glass, and what becomes of both afterwards."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from allauth.account.internal.flows.login import record_authentication
from django.http import HttpRequest
from django.test import Client
from django.urls import reverse

from governance.bundles import publish_bundle
from governance.facts import Fact
from governance.fence.actor import governed_change
from governance.models import ApprovalRequest, Bundle, Grant, User
from tests.gateway.held_world import a_question, a_world

pytestmark = pytest.mark.django_db

WISH = {"agent": "triage-bot", "bundle": "support", "minutes": "60", "reason": "The regular one is ill."}


@pytest.fixture
def world() -> dict[str, Any]:
    known, facts = a_world(), list[Fact]()
    with governed_change(by="test"):
        bundle = Bundle.objects.create(name="support")
        publish_bundle(
            bundle, tools=[], parents=[], policies=[], names="", recording="full", by="test", record=facts.append
        )
        staff = {
            duty: User.objects.create_user(f"{duty}@example.com", is_staff=True, duties=[duty])
            for duty in ("it-admin", "security")
        }
    return {**known, **staff, "bundle": bundle}


def browser(person: User, *, second_factor: bool = False) -> Client:
    client = Client()
    client.force_login(person)
    session = client.session
    session["signed_in_at"] = datetime.now(UTC).timestamp()
    request = HttpRequest()
    request.session = session
    for method in ("password", "mfa") if second_factor else ("password",):
        record_authentication(request, person, method)
    session.save()
    return client


def a_grant(world: dict[str, Any], **columns: Any) -> Grant:
    now = datetime.now(UTC)
    given = {"kind": "elevation", "agent": world["agent"], "bundle": world["bundle"], "starts_at": now}
    with governed_change(by="test"):
        return Grant.objects.create(**{**given, "ends_at": now + timedelta(hours=1), **columns})


# Asking


def test_a_denial_leads_to_a_form_that_is_filled_in(world: dict[str, Any]) -> None:
    page = browser(world["ana"]).get("/me/access/?agent=triage-bot&bundle=support&tool=helpdesk/billing_refund")
    content = page.content.decode()
    assert '<option value="triage-bot" selected>' in content
    assert 'value="helpdesk/billing_refund"' in content


def test_asking_for_an_agent_of_hers(world: dict[str, Any]) -> None:
    client = browser(world["ana"])
    client.post("/me/access/", WISH)
    row = ApprovalRequest.objects.get()
    assert (row.kind, row.agent, row.asked_by_id, row.reason) == (
        "access",
        "triage-bot",
        world["ana"].pk,
        WISH["reason"],
    )
    assert row.name.encode() in client.get("/me/access/").content
    assert f"{row.name} asks for that already." in client.post("/me/access/", WISH, follow=True).content.decode()


@pytest.mark.parametrize(
    ("field", "value"),
    [("agent", "night-bot"), ("bundle", "nothing"), ("tool", "helpdesk/nothing"), ("minutes", "9999"), ("reason", "")],
)
def test_what_cannot_be_asked_for(world: dict[str, Any], field: str, value: str) -> None:
    answer = browser(world["ana"]).post("/me/access/", {**WISH, field: value})
    assert answer.status_code == 400
    assert not ApprovalRequest.objects.exists()


def test_an_approver_reads_who_asks_and_what_for(world: dict[str, Any]) -> None:
    browser(world["ana"]).post("/me/access/", WISH)
    row = ApprovalRequest.objects.get()
    page = browser(world["security"]).get(reverse("approval", args=[row.key]))
    assert b"The regular one is ill." in page.content
    assert b"Exactly this would run" not in page.content
    form = {"verb": "approve", "digest": page.context["asked"].digest, "revision": row.revision}
    browser(world["security"]).post(reverse("approval", args=[row.key]), form)
    assert Grant.objects.get().agent == world["agent"]


def test_ending_a_grant_early(world: dict[str, Any]) -> None:
    grant = a_grant(world)
    end = reverse("end_my_grant", args=[grant.pk])
    assert browser(world["mallory"]).post(end).status_code == 404
    assert browser(world["ana"]).get(end).status_code == 405
    browser(world["ana"]).post(end)
    grant.refresh_from_db()
    assert grant.revoked_by == "person:ana@example.com"


def test_more_time_is_asked_for_and_begins_where_the_first_ends(world: dict[str, Any]) -> None:
    grant, ana = a_grant(world), browser(world["ana"])
    renew = reverse("renew_my_grant", args=[grant.pk])
    assert renew in ana.get(reverse("my_access")).content.decode()
    assert browser(world["mallory"]).get(renew).status_code == 404
    assert ana.post(renew, {"minutes": "60", "reason": ""}).status_code == 400
    ana.post(renew, {"minutes": "60", "reason": "Not done yet."})
    asked = ApprovalRequest.objects.get()
    assert (asked.wanted["renews"], asked.reason) == (str(grant.pk), "Not done yet.")
    page = reverse("approval", args=[asked.key])
    approver = browser(world["security"])
    shown = approver.get(page).content.decode()
    digest = shown.partition('name="digest" value="')[2].partition('"')[0]
    approver.post(page, {"digest": digest, "revision": asked.revision, "verb": "approve"})
    given = Grant.objects.exclude(pk=grant.pk).get()
    assert (given.starts_at, given.ends_at) == (grant.ends_at, grant.ends_at + timedelta(hours=1))
    for over in (a_grant(world, revoked_at=datetime.now(UTC)), a_grant(world, kind="break_glass")):
        assert ana.get(reverse("renew_my_grant", args=[over.pk])).status_code == 404


def test_withdrawing_what_an_agent_of_hers_asked(world: dict[str, Any]) -> None:
    row = a_question(world)
    withdraw = reverse("withdraw_my_request", args=[row.key])
    assert browser(world["lee"]).post(withdraw).status_code == 404
    browser(world["ana"]).post(withdraw)
    row.refresh_from_db()
    assert row.state == "cancelled"


# Break-glass

GLASS = {"agent": "triage-bot", "bundle": "support", "minutes": "30", "reason": "Payments are down."}


def test_breaking_the_glass_and_ending_it(world: dict[str, Any]) -> None:
    client = browser(world["it-admin"], second_factor=True)
    client.post("/admin/break-glass/", GLASS)
    grant = Grant.objects.get()
    assert (grant.kind, grant.reason, grant.ends_at - grant.starts_at) == (
        "break_glass",
        "Payments are down.",
        timedelta(minutes=30),
    )
    assert b"In force until" in client.get("/admin/break-glass/").content
    client.post(reverse("end_break_glass", args=[grant.pk]))
    grant.refresh_from_db()
    assert grant.revoked_at is not None


def test_the_glass_takes_a_second_factor(world: dict[str, Any]) -> None:
    answer = browser(world["it-admin"]).post("/admin/break-glass/", GLASS)
    assert answer.status_code == 400
    assert b"second factor" in answer.content
    assert not Grant.objects.exists()


def test_the_glass_is_broken_for_an_hour_at_most(world: dict[str, Any]) -> None:
    answer = browser(world["it-admin"], second_factor=True).post("/admin/break-glass/", {**GLASS, "minutes": "61"})
    assert answer.status_code == 400
    assert not Grant.objects.exists()


def test_somebody_else_reviews_it(world: dict[str, Any]) -> None:
    browser(world["security"], second_factor=True).post("/admin/break-glass/", GLASS)
    grant = Grant.objects.get()
    review = reverse("review_grant", args=[grant.pk])
    hers = browser(world["security"]).post(review, {"note": "All well."})
    assert hers.status_code == 400
    assert b"Who took it does not review it" in hers.content
    with governed_change(by="test"):
        other = User.objects.create_user("other@example.com", is_staff=True, duties=["security"])
    reviewer = browser(other)
    assert b"Break-glass to review" in reviewer.get("/admin/").content
    assert b"not reviewed" in reviewer.get("/admin/governance/grant/").content
    reviewer.post(review, {"note": "It was needed."})
    grant.refresh_from_db()
    assert (grant.reviewed_by, grant.review_note) == ("other@example.com", "It was needed.")
    assert b"Break-glass to review" not in reviewer.get("/admin/").content


def test_grants_are_ended_from_the_list_after_a_preview(world: dict[str, Any]) -> None:
    grant, client = a_grant(world), browser(world["it-admin"])
    act = {"action": "revoke", "_selected_action": [str(grant.pk)]}
    assert b"No call that rests on them starts" in client.post("/admin/governance/grant/", act).content
    grant.refresh_from_db()
    assert grant.revoked_at is None
    client.post("/admin/governance/grant/", {**act, "confirmed": "yes"})
    grant.refresh_from_db()
    assert grant.revoked_at is not None


def test_home_says_what_waits_for_her(world: dict[str, Any]) -> None:
    a_question(world)
    with governed_change(by="test"):
        User.objects.filter(email="lee@example.com").update(is_staff=True, duties=["approver"])
    assert b"1 question waits for your decision" in browser(world["lee"]).get("/admin/").content
    assert b"for your decision" not in browser(world["it-admin"]).get("/admin/").content
