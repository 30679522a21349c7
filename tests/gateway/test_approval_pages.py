"""Deciding on screen: who sees what, what a POST must carry, and what becomes of what was typed."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from gateway.held_rows import opened
from governance.approval_rows import approval_digest
from governance.fence.actor import governed_change
from governance.models import Agent, ApprovalDecision, ApprovalRequest, Grant, Tool, User
from tests.gateway.held_world import LEADS, a_question, a_world

pytestmark = pytest.mark.django_db

HOSTILE = '<script>alert("x")</script>\u202ereversed'


@pytest.fixture
def world() -> dict[str, Any]:
    return a_world()


def browser(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def address(row: ApprovalRequest) -> str:
    return reverse("approval", args=[row.key])


def form(row: ApprovalRequest, verb: str, **typed: Any) -> dict[str, Any]:
    """What the page as it is now would send."""
    return {"verb": verb, "digest": approval_digest(row).hex(), "revision": row.revision, **typed}


def test_the_page_says_in_one_sentence_what_is_wanted(world: dict[str, Any]) -> None:
    page = browser(world["lee"]).get(address(a_question(world)))
    assert page.status_code == 200
    words = " ".join(page.content.decode().replace("<b>", "").replace("</b>", "").split())
    assert "Triage bot wants to refund an order: amount 240.0, order id O-881, reason Arrived broken." in words
    assert "Refunds cannot be taken back." in words
    assert "Refunds over 100 need a lead." in words


@pytest.mark.parametrize("who", ["mallory"])
def test_for_whoever_may_not_decide_there_is_no_such_request(world: dict[str, Any], who: str) -> None:
    client, row = browser(world[who]), a_question(world)
    there = client.get(address(row))
    nowhere = client.get(reverse("approval", args=[uuid4()]))
    assert there.status_code == nowhere.status_code == 404
    assert there.content == nowhere.content
    assert client.post(address(row), form(row, "approve")).status_code == 404
    assert client.get(reverse("approval_live", args=[row.key])).status_code == 404
    row.refresh_from_db()
    assert row.state == "pending"


def test_the_owner_follows_it_and_cannot_decide(world: dict[str, Any]) -> None:
    client, row = browser(world["ana"]), a_question(world)
    page = client.get(address(row))
    assert b"You cannot approve your own agent" in page.content
    assert b'value="approve"' not in page.content
    refused = client.post(address(row), form(row, "approve"))
    assert refused.status_code == 403
    row.refresh_from_db()
    assert row.state == "pending"


def test_approving(world: dict[str, Any]) -> None:
    client, row = browser(world["lee"]), a_question(world)
    answer = client.post(address(row), form(row, "approve"), follow=True)
    assert b"Approved. The agent goes on." in answer.content
    row.refresh_from_db()
    decision = ApprovalDecision.objects.get()
    assert (row.state, decision.person, decision.channel) == ("approved", "lee@example.com", "web")
    assert bytes(decision.digest) == approval_digest(row)


def test_denying_with_a_reason(world: dict[str, Any]) -> None:
    client, row = browser(world["lee"]), a_question(world)
    client.post(address(row), form(row, "deny", reason="Not this customer."))
    row.refresh_from_db()
    assert (row.state, ApprovalDecision.objects.get().reason) == ("denied", "Not this customer.")


def test_reading_changes_nothing(world: dict[str, Any]) -> None:
    client, row = browser(world["lee"]), a_question(world)
    before = ApprovalRequest.objects.values().get()
    for path in (
        address(row),
        f"{address(row)}?verb=approve",
        f"{address(row)}live/",
        "/approvals/",
        "/approvals/live/",
    ):
        assert client.get(path).status_code == 200
    assert client.get("/approvals/bulk/").status_code == 405
    assert ApprovalRequest.objects.values().get() == before


@pytest.mark.parametrize("change", [{"digest": "00" * 32}, {"revision": 7}, {"digest": "x"}, {"revision": "x"}])
def test_a_stale_page_decides_nothing_and_loses_nothing(world: dict[str, Any], change: dict[str, Any]) -> None:
    client, row = browser(world["lee"]), a_question(world)
    answer = client.post(address(row), form(row, "approve", reason="I looked at it closely.") | change)
    assert answer.status_code == 409
    assert b"It changed meanwhile" in answer.content
    assert b"I looked at it closely." in answer.content
    assert approval_digest(row).hex().encode() in answer.content
    assert not ApprovalDecision.objects.exists()


def test_who_comes_too_late_reads_who_decided(world: dict[str, Any]) -> None:
    row = a_question(world)
    shown = form(row, "approve")
    browser(world["kim"]).post(address(row), form(row, "deny"))
    late = browser(world["lee"]).post(address(row), shown)
    assert late.status_code == 409
    assert b"denied by kim@example.com" in late.content


def test_hostile_text_is_shown_and_not_obeyed(world: dict[str, Any]) -> None:
    row = a_question(world, {"order_id": HOSTILE, HOSTILE: 1, "x": {"y": [HOSTILE]}}, stated_reason=HOSTILE)
    page = browser(world["lee"]).get(address(row)).content.decode()
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "⟦U+202E⟧" in page


def test_a_resource_in_the_place_of_a_tool_is_shown_too(world: dict[str, Any]) -> None:
    row = a_question(world, {"uri": "file:///etc"}, tool_id="resource:abc:file:///etc", tool="resource:file:///etc")
    assert browser(world["lee"]).get(address(row)).status_code == 200


def test_the_last_approved_call_stands_beside_this_one(world: dict[str, Any]) -> None:
    a_question(world, {"order_id": "O-880", "amount": 20}, state="consumed", ended_at=datetime.now(UTC))
    page = browser(world["lee"]).get(address(a_question(world, {"order_id": "O-881", "amount": 20}))).content.decode()
    assert "O-880" in page
    assert page.count('data-mark="changed"') == 1
    assert page.count('data-mark="same"') == 1


def test_narrowing_shows_the_difference_first(world: dict[str, Any]) -> None:
    client, row = browser(world["lee"]), a_question(world)
    typed = {"argument-1": "100", "argument-2": "O-881", "argument-3": "Arrived broken."}
    shown = client.post(address(row), form(row, "show_narrowed", **typed))
    assert shown.status_code == 200
    assert not ApprovalDecision.objects.exists()
    digest = shown.context["proposal"].digest
    client.post(address(row), form(row, "narrow", narrowed_digest=digest, **typed))
    row.refresh_from_db()
    assert row.state == "approved"
    assert opened(row, bytes(row.arguments)) == b'{"amount":100,"order_id":"O-881","reason":"Arrived broken."}'
    assert approval_digest(row).hex() == digest


def test_what_was_typed_after_the_difference_was_shown_is_shown_again(world: dict[str, Any]) -> None:
    client, row = browser(world["lee"]), a_question(world)
    shown = client.post(address(row), form(row, "show_narrowed", **{"argument-1": "100"}))
    digest = shown.context["proposal"].digest
    again = client.post(address(row), form(row, "narrow", narrowed_digest=digest, **{"argument-1": "900"}))
    assert again.context["proposal"].digest != digest
    assert not ApprovalDecision.objects.exists()


def test_a_value_that_cannot_be_read_is_said_beside_it(world: dict[str, Any]) -> None:
    client, row = browser(world["lee"]), a_question(world)
    answer = client.post(address(row), form(row, "show_narrowed", **{"argument-1": "one hundred"}))
    assert answer.status_code == 422
    assert b"Not valid JSON" in answer.content
    assert b"one hundred" in answer.content


def test_a_pattern_keeps_what_is_ticked(world: dict[str, Any]) -> None:
    terms = [{**LEADS, "approvers": {"team": "leads", "longest_grant": "1h"}}]
    client, row = browser(world["lee"]), a_question(world, terms=terms)
    page = client.get(address(row)).content.decode()
    assert "amount is 240.0" in page
    assert "any number from 0 to 240.0" in page
    assert not re.search(r'name="at_most"[^>]*checked', page), "wider than the call is nothing by itself"
    client.post(address(row), form(row, "grant", offer=["amount"], minutes=30, only_this_run="on"))
    grant = Grant.objects.get()
    assert "== 240.0" in grant.condition
    assert "order_id" not in grant.condition.replace('"order_id"', "", 1)
    assert grant.session == "run-1"


def test_a_number_may_be_less_where_that_is_ticked_too(world: dict[str, Any]) -> None:
    terms = [{**LEADS, "approvers": {"team": "leads", "longest_grant": "1h"}}]
    client, row = browser(world["lee"]), a_question(world, terms=terms)
    refused = client.post(address(row), form(row, "grant", offer=["amount"], at_most=["order_id"], minutes=30))
    assert b"no number from 0 up" in refused.content
    client.post(address(row), form(row, "grant", offer=["amount"], at_most=["amount"], minutes=30))
    assert "<= 240.0" in Grant.objects.get().condition


def test_a_pattern_is_not_offered_where_the_rule_wants_each_call_asked(world: dict[str, Any]) -> None:
    page = browser(world["lee"]).get(address(a_question(world))).content
    assert b'value="grant"' not in page


def test_a_reason_that_the_rule_wants(world: dict[str, Any]) -> None:
    terms = [{**LEADS, "approvers": {"team": "leads", "reason": "required", "ticket": "INC[0-9]+"}}]
    client, row = browser(world["lee"]), a_question(world, terms=terms)
    answer = client.post(address(row), form(row, "approve", ticket="INC7"))
    assert answer.status_code == 422
    assert b"The rule wants a reason" in answer.content
    assert b"INC7" in answer.content
    client.post(address(row), form(row, "approve", ticket="INC7", reason="Checked."))
    row.refresh_from_db()
    assert row.state == "approved"


def test_a_proof_that_is_too_old_keeps_what_was_typed(world: dict[str, Any]) -> None:
    terms = [{**LEADS, "approvers": {"team": "leads", "step_up": "1m"}}]
    client, row = browser(world["lee"]), a_question(world, terms=terms)
    session = client.session
    session["signed_in_at"] = (datetime.now(UTC) - timedelta(minutes=2)).timestamp()
    session.save()
    page = client.get(address(row)).content.decode()
    assert "Prove it now" in page
    assert f"next={address(row)}" in page.replace("%2F", "/") or "link-too-old" in page
    answer = client.post(address(row), form(row, "approve", reason="Looked at it."))
    assert answer.status_code == 403
    assert b"Looked at it." in answer.content
    row.refresh_from_db()
    assert row.state == "pending"


def test_suspending_the_agent(world: dict[str, Any]) -> None:
    client, row = browser(world["lee"]), a_question(world)
    client.post(address(row), form(row, "suspend"))
    row.refresh_from_db()
    assert (Agent.objects.get().status, row.state) == ("suspended", "void")


def test_one_of_two_has_decided(world: dict[str, Any]) -> None:
    row = a_question(world, terms=[{**LEADS, "approvers": {"team": "leads", "count": 2}}])
    client = browser(world["lee"])
    client.post(address(row), form(row, "approve"))
    page = client.get(address(row)).content
    assert b"1 more of 2 humans must agree." in page
    assert b"You have decided. Others are still to agree." in page
    assert b'value="approve"' not in page


# The inbox


def test_the_inbox_holds_what_waits_for_her(world: dict[str, Any]) -> None:
    row = a_question(world)
    assert row.name.encode() in browser(world["lee"]).get("/approvals/").content
    for other in ("mallory", "ana"):
        page = browser(world[other]).get("/approvals/").content
        assert row.name.encode() not in page
        assert b"Nothing waits for you" in page


def test_filters_and_search(world: dict[str, Any]) -> None:
    first, second = a_question(world), a_question(world, agent="night-bot")
    client = browser(world["lee"])
    for query, found in (
        ("agent=night-bot", {second.name}),
        ("tool=nothing", set()),
        (f"q={first.name}", {first.name}),
        ("q=night", {second.name}),
        ("age=hour", {first.name, second.name}),
        ("connector=helpdesk", {first.name, second.name}),
    ):
        page = client.get(f"/approvals/?{query}").content.decode()
        assert {name for name in (first.name, second.name) if f"<small>{name}" in page} == found, query


def test_only_what_is_alike_and_harmless_is_approved_at_once(world: dict[str, Any]) -> None:
    rows = [a_question(world, {"order_id": f"O-{number}"}) for number in range(3)]
    client = browser(world["lee"])
    tickets = [f"{row.key}:{row.revision}:{approval_digest(row).hex()}" for row in rows]
    assert b"Approve those ticked" not in client.get("/approvals/").content
    client.post("/approvals/bulk/", {"request": tickets})
    assert not ApprovalDecision.objects.exists()
    with governed_change(by="test"):
        Tool.objects.update(risk="low")
    assert b"Approve those ticked" in client.get("/approvals/").content
    client.post("/approvals/bulk/", {"request": [*tickets[:2], "nonsense", tickets[2][:-4] + "0000"]})
    assert ApprovalRequest.objects.filter(state="approved").count() == 2


def test_who_decides_very_much_is_asked_to_pause(world: dict[str, Any]) -> None:
    with governed_change(by="test"):
        Tool.objects.update(risk="low")
    client = browser(world["lee"])
    for number in range(20):
        row = a_question(world, {"order_id": f"O-{number}"})
        client.post(address(row), form(row, "approve"))
    rows = [a_question(world, {"order_id": f"P-{number}"}) for number in range(2)]
    page = client.get("/approvals/").content
    assert b"Take a moment" in page
    assert b"Approve those ticked" not in page
    tickets = [f"{row.key}:{row.revision}:{approval_digest(row).hex()}" for row in rows]
    client.post("/approvals/bulk/", {"request": tickets})
    assert ApprovalRequest.objects.filter(state="pending").count() == 2


def test_history_is_of_what_is_hers(world: dict[str, Any]) -> None:
    row = a_question(world)
    browser(world["lee"]).post(address(row), form(row, "deny"))
    for who, sees in (("lee", True), ("ana", True), ("kim", False), ("mallory", False)):
        assert (row.name.encode() in browser(world[who]).get("/approvals/history/").content) is sees, who
