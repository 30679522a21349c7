"""Approvals, access and grants over the wire: who sees what, what a decision must name, and what it is told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest

from audit.models import EventRow
from gateway.bus import topic_of
from gateway.held_rows import topic_of_request
from gateway.models import Letter
from gateway.session_story import lines_of, page_of
from governance.approval_rows import approval_digest
from governance.approval_terms import Terms
from governance.bundles import publish_bundle
from governance.models import ApprovalRequest, Grant, User
from tests.gateway.calling import Api, fields_of, it_admin, problem, security
from tests.governance.asking import LEADS, Office

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def office() -> Office:
    office = Office()
    office.now = datetime.now(UTC)
    return office


@pytest.fixture
def lee(office: Office) -> Api:
    """Named by the rule, without any duty."""
    return Api(office.lee)


def yes(request: ApprovalRequest, **fields: Any) -> dict[str, Any]:
    return {"decision": "approve", "digest": approval_digest(request).hex(), **fields}


def test_a_lead_sees_it_and_approves_what_she_was_shown(office: Office, lee: Api) -> None:
    request = office.ask()
    (listed,) = lee.get("approvals?state=pending").json()["results"]
    assert (listed["id"], listed["name"], listed["state"]) == (str(request.key), request.name, "pending")

    shown = lee.get(f"approvals/{request.key}")
    told = lee.post(
        f"approvals/{request.key}/decisions",
        {"decision": "approve", "digest": shown.json()["digest"], "reason": "the customer is right"},
        If_Match=shown["ETag"],
    )

    assert (told.status_code, told.json()["state"]) == (200, "approved")
    assert told.json()["agreements"][0]["missing"] == 0
    assert [row["person"] for row in told.json()["decisions"]] == ["lee@example.com"]
    decided = EventRow.objects.get(kind="approval.decided")
    assert (decided.actor, decided.agent) == ("person:lee@example.com", "triage-bot")
    topics = set(Letter.objects.values_list("topic", flat=True))
    assert {topic_of_request(request.key), topic_of("approvals")} <= topics


def test_what_humans_say_of_a_call_is_of_its_session(office: Office, lee: Api) -> None:
    run, call = uuid4(), uuid4()
    request = office.ask(run=run, asking_call_id=call, person="ana@example.com")
    assert lee.post(f"approvals/{request.key}/decisions", yes(request)).status_code == 200
    told = list(lines_of(run))
    assert [event.kind for event in told] == ["approval.decided", "approval.approved"]
    for event in told:
        assert (event.agent, event.person) == ("triage-bot", "ana@example.com")
        assert orjson.loads(bytes(event.header))["details"]["call"] == str(call)
    page = page_of(run)
    assert page is not None
    assert ("By", "lee@example.com") in [(fact.label, fact.value) for fact in page.entries[0].facts]


def test_who_comes_too_late_is_told_who_was_first(office: Office, lee: Api) -> None:
    request = office.ask()
    assert lee.post(f"approvals/{request.key}/decisions", {**yes(request), "decision": "deny"}).status_code == 200

    told = problem(Api(office.kim).post(f"approvals/{request.key}/decisions", yes(request)), 409, "conflict")

    assert "denied by lee@example.com" in told["detail"]


def test_a_digest_of_something_else_decides_nothing(office: Office, lee: Api) -> None:
    request = office.ask()
    address = f"approvals/{request.key}/decisions"
    problem(lee.post(address, {"decision": "approve", "digest": "00" * 32}), 412, "precondition_failed")
    assert fields_of(problem(lee.post(address, {"decision": "approve", "digest": "zz" * 32}), 400, "invalid_input"))
    problem(lee.post(address, yes(request), If_Match='"stale"'), 412, "precondition_failed")
    problem(lee.post(address, {"decision": "approve"}), 400, "invalid_input")
    assert not request.decisions.exists()


def test_the_same_decision_sent_again_gets_its_answer_again(office: Office, lee: Api) -> None:
    request = office.ask(replace(LEADS, count=2))
    first, again = (
        lee.post(f"approvals/{request.key}/decisions", yes(request), Idempotency_Key="once") for _ in range(2)
    )
    assert first.json() == again.json()
    assert request.decisions.count() == 1
    told = problem(lee.post(f"approvals/{request.key}/decisions", yes(request)), 409, "conflict")
    assert "You decided at" in told["detail"]


def test_a_stranger_finds_nothing_and_the_owner_cannot_approve(office: Office) -> None:
    request = office.ask()
    stranger, ana = Api(office.mallory), Api(office.ana)

    assert stranger.get("approvals").json()["results"] == []
    problem(stranger.get(f"approvals/{request.key}"), 404, "not_found")
    problem(stranger.post(f"approvals/{request.key}/decisions", yes(request)), 404, "not_found")
    assert ana.get(f"approvals/{request.key}").status_code == 200
    problem(ana.post(f"approvals/{request.key}/decisions", yes(request)), 403, "permission_denied")
    problem(Api(office.bea).post(f"approvals/{request.key}/withdraw"), 403, "permission_denied")
    assert ana.post(f"approvals/{request.key}/withdraw").json()["state"] == "cancelled"


def test_it_takes_the_scope(office: Office) -> None:
    request = office.ask()
    reading = Api(office.lee, scopes=("read",))
    told = problem(reading.post(f"approvals/{request.key}/decisions", yes(request)), 403, "missing_scope")
    assert "approvals:decide" in told["detail"]


def test_what_the_rule_wants_is_named(office: Office, lee: Api) -> None:
    request = office.ask(replace(LEADS, needs_reason=True))
    told = problem(lee.post(f"approvals/{request.key}/decisions", yes(request)), 422, "refused")
    assert fields_of(told) == {"reason"}

    fresh = office.ask(replace(LEADS, step_up=300), what="other")
    told = problem(lee.post(f"approvals/{fresh.key}/decisions", yes(fresh)), 403, "permission_denied")
    assert "Sign in again on its page" in told["detail"]


def test_time_ends_it_in_the_list_before_the_worker_looks(office: Office, lee: Api) -> None:
    office.now -= timedelta(seconds=LEADS.pending)
    request = office.ask()
    watching = security()
    assert watching.get("approvals?state=pending").json()["results"] == []
    assert [row["id"] for row in watching.get("approvals?state=expired").json()["results"]] == [str(request.key)]


@pytest.fixture
def published(office: Office) -> Office:
    publish_bundle(
        office.bundle, tools=[], parents=[], policies=[], names="", recording="full", by="t", record=office.facts.append
    )
    return office


def test_access_is_asked_for_and_given_for_a_time(published: Office) -> None:
    office, ana = published, Api(published.ana)
    wish = {"agent": "triage-bot", "bundle": "support", "minutes": 60, "reason": "quarter end"}
    asked = ana.post("access-requests", wish)
    assert asked.status_code == 201
    assert asked.json()["wanted"] == {"bundle": "support", "tool": "", "minutes": 60}
    assert ana.post("access-requests", wish).status_code == 200
    problem(
        ana.post(f"approvals/{asked.json()['id']}/decisions", yes(ApprovalRequest.objects.get())),
        403,
        "permission_denied",
    )

    approver = Api(User.objects.create_user("app@example.com", is_staff=True, duties=["approver"]))
    told = approver.post(f"approvals/{asked.json()['id']}/decisions", yes(ApprovalRequest.objects.get()))

    grant = Grant.objects.get()
    assert (told.json()["state"], told.json()["grant_id"]) == ("consumed", str(grant.pk))
    assert (grant.kind, grant.agent, grant.bundle) == ("elevation", office.agent, office.bundle)
    assert grant.ends_at - grant.starts_at == timedelta(minutes=60)
    renewed = ana.post(f"grants/{grant.pk}/renew", {"minutes": 30, "reason": "not done yet"})
    assert renewed.status_code == 201
    approver.post(f"approvals/{renewed.json()['id']}/decisions", yes(ApprovalRequest.objects.latest("number")))
    assert Grant.objects.latest("starts_at").starts_at == grant.ends_at
    assert ana.post(f"grants/{grant.pk}/revoke").json()["revoked_by"] == "person:ana@example.com"
    problem(ana.post(f"grants/{grant.pk}/revoke"), 409, "conflict")


def test_access_for_others_agents_or_to_nothing_is_refused(published: Office) -> None:
    wish = {"agent": "triage-bot", "bundle": "support", "minutes": 60, "reason": "why"}
    problem(Api(published.kim).post("access-requests", wish), 403, "permission_denied")
    ana = Api(published.ana)
    for field, value in (("minutes", 1441), ("bundle", "nothing"), ("tool", "helpdesk/nothing"), ("reason", "")):
        told = ana.post("access-requests", {**wish, field: value})
        assert told.status_code in (400, 422), field
        assert fields_of(told.json()) == {field}
    told = problem(ana.post("access-requests", {**wish, "tool": "helpdesk/billing_refund"}), 422, "refused")
    assert "does not hold" in told["detail"]
    assert ana.post("access-requests", {key: value for key, value in wish.items() if key != "agent"}).status_code == 201


def test_break_glass_is_reviewed_by_somebody_else(office: Office) -> None:
    sam, noor = security(), it_admin()
    now = datetime.now(UTC)
    taken = Grant.objects.create(
        kind="break_glass",
        agent=office.agent,
        bundle=office.bundle,
        approvers=[sam.person.pk.hex],
        starts_at=now,
        ends_at=now + timedelta(minutes=5),
        created_by="person:sam@example.com",
    )
    assert [row["id"] for row in noor.get("grants?state=unreviewed").json()["results"]] == [str(taken.pk)]
    problem(sam.post(f"grants/{taken.pk}/review", {"note": "fine"}), 403, "permission_denied")
    problem(noor.post(f"grants/{taken.pk}/review", {"note": "fine"}), 403, "permission_denied")
    other = Api(User.objects.create_user("sue@example.com", is_staff=True, duties=["security"]))
    assert (
        other.post(f"grants/{taken.pk}/review", {"note": "it was on fire"}).json()["reviewed_by"] == "sue@example.com"
    )
    assert Terms().named_duties == ("approver",)
    problem(other.post(f"grants/{taken.pk}/review", {"note": "again"}), 409, "conflict")


def test_a_key_on_behalf_of_a_person(office: Office) -> None:
    noor = it_admin()
    made = noor.post(f"agents/{office.agent.pk}/credentials", {"on_behalf_of": "kim@example.com"})
    assert made.status_code == 201
    shown = noor.get(f"credentials/{made.json()['key_id']}").json()
    assert shown["on_behalf_of"] == "kim@example.com"
    User.objects.filter(pk=office.kim.pk).update(is_active=False)
    told = noor.post(f"agents/{office.agent.pk}/credentials", {"on_behalf_of": "kim@example.com"})
    assert fields_of(problem(told, 422, "refused")) == {"on_behalf_of"}
