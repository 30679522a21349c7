"""Anchors, retention, legal holds, erasure, reports and access reviews over the REST API."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from audit.models import EventRow
from gateway.models import Report, ReportPart
from governance.fence.actor import governed_change
from governance.models import (
    AccessReview,
    AccessReviewItem,
    Agent,
    Anchor,
    Bundle,
    Erasure,
    LegalHold,
    RetentionClass,
    Role,
    Secret,
    User,
)
from governance.personal_tokens import SCOPES
from tests.gateway.calling import Api, fields_of, owner, person, problem, security

__all__ = ("owner",)

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
TSA = {"name": "tsa", "kind": "rfc3161", "url": "https://tsa.example.com", "trust": PEM}


def events(kind: str) -> list[EventRow]:
    return list(EventRow.objects.filter(kind=kind))


def made(answer: Any) -> Any:
    assert answer.status_code == 201, answer.content
    assert answer["Location"].endswith(answer.json()["id"])
    return answer.json()


@pytest.fixture
def sam() -> Api:
    return security()


@pytest.fixture
def ana() -> User:
    return User.objects.create_user("ana@example.com")


def test_an_anchor_is_set_up_asked_and_removed(sam: Api) -> None:
    tsa = made(sam.post("anchors", TSA))
    assert (tsa["every_minutes"], tsa["kept_at"], tsa["last_error"]) == (60, None, "")

    assert sam.post(f"anchors/{tsa['id']}/keep").status_code == 202
    assert Anchor.objects.get().wanted_at is not None
    (asked,) = events("anchor.asked")
    assert asked.actor == "person:sam@example.com"

    assert sam.patch(f"anchors/{tsa['id']}", {"every_minutes": 5}).json()["every_minutes"] == 5
    assert sam.delete(f"anchors/{tsa['id']}").status_code == 204


@pytest.mark.parametrize(
    ("wish", "fields"),
    [
        ({"trust": ""}, {"trust"}),
        ({"url": "https://u:p@tsa.example.com"}, {"url"}),
        ({"kind": "s3", "trust": ""}, {"bucket", "secret"}),
        ({"every_minutes": 0}, {"every_minutes"}),
        ({"kind": "s3", "bucket": "b", "secret": "bearer"}, {"secret"}),
    ],
    ids=["no-certificates", "user-in-url", "no-bucket", "too-often", "wrong-secret"],
)
def test_what_an_anchor_lacks_is_named(sam: Api, wish: dict[str, Any], fields: set[str]) -> None:
    with governed_change(by="test"):
        Secret.objects.create(name="bearer")
    assert fields_of(sam.post("anchors", {**TSA, **wish}).json()) == fields
    assert not Anchor.objects.exists()


def test_a_hold_is_set_shown_and_lifted_once(sam: Api, ana: User) -> None:
    wish = {"person": "ana@example.com", "first_day": "2026-01-01", "reason": "Case 7"}
    hold = made(sam.post("legal-holds", wish))
    assert {name: hold[name] for name in wish} == wish
    assert hold["set_by"] == "person:sam@example.com"
    assert fields_of(problem(sam.post("legal-holds", {"reason": "Case 8"}), 422, "refused")) == {""}

    assert len(sam.get("legal-holds?state=in-force").json()["results"]) == 1
    problem(sam.post(f"legal-holds/{hold['id']}/lift"), 400, "invalid_input")
    assert sam.post(f"legal-holds/{hold['id']}/lift", {"reason": "Settled"}).json()["lifted_at"]
    problem(sam.post(f"legal-holds/{hold['id']}/lift", {"reason": "Settled"}), 409, "conflict")
    assert len(events("hold.set")) == len(events("hold.lifted")) == 1


def test_a_retention_class_takes_its_bundles_and_is_looked_at_again(owner: Api) -> None:
    with governed_change(by="test"):
        Bundle.objects.create(name="support")
        Bundle.objects.create(name="billing")
    short = made(owner.post("retention-classes", {"name": "short", "payload_days": 30, "bundles": ["support"]}))
    RetentionClass.objects.update(pruned_to=7)

    longer = {"payload_days": 90, "bundles": ["billing"]}
    assert owner.patch(f"retention-classes/{short['id']}", longer).json()["bundles"] == ["billing"]
    assert RetentionClass.objects.get().pruned_to == 0
    assert Bundle.objects.get(name="support").retention is None

    taken = owner.post("retention-classes", {"name": "long", "bundles": ["billing"]})
    assert "In another class already: billing" in problem(taken, 422, "refused")["detail"]
    problem(owner.delete(f"retention-classes/{short['id']}"), 409, "conflict")
    problem(security().post("retention-classes", {"name": "none"}), 403, "permission_denied")


def test_an_erasure_tells_first_what_it_does_and_obeys_a_hold(owner: Api, ana: User) -> None:
    assert owner.post("erasures/preview", {"person": "ana@example.com"}).json()["held_by"] == ""
    with governed_change(by="test"):
        hold = LegalHold.objects.create(person=ana, reason="Case 7", set_by="x", set_at=NOW)
    wish = {"person": "ana@example.com", "reason": "Request 7"}
    assert "Case 7" in owner.post("erasures/preview", {"person": "ana@example.com"}).json()["held_by"]
    assert "Case 7" in problem(owner.post("erasures", wish), 409, "conflict")["detail"]
    assert not Erasure.objects.exists()

    owner.post(f"legal-holds/{hold.pk}/lift", {"reason": "Settled"})
    done = made(owner.post("erasures", wish, Idempotency_Key="once"))
    again = owner.post("erasures", wish, Idempotency_Key="once")

    assert (done["email"], done["by"], done["reason"]) == ("ana@example.com", "person:owner@example.com", "Request 7")
    assert again.json() == done
    (told,) = events("audit.subject_erased")
    assert json.loads(bytes(told.header))["details"]["token"] == owner.row.hint
    problem(security().post("erasures", wish), 403, "permission_denied")


def test_a_report_is_asked_for_followed_and_taken_along_on_record() -> None:
    auditor = Api(person("mia@example.com", "auditor"))
    wish = {"pack": "soc2", "since": "2026-01-01T00:00:00Z", "until": "2026-04-01T00:00:00Z"}
    asked = made(auditor.post("reports", wish))
    assert (asked["state"], asked["lines"], asked["sha256"]) == ("waiting", {}, {})
    problem(auditor.post(f"reports/{asked['id']}/pdf"), 409, "conflict")

    Report.objects.update(state="done", told={"lines": {"access": 3}, "sha256": {"report.pdf": "ab"}})
    row = Report.objects.get()
    for number, body in enumerate((b"%PDF-", b"1.7")):
        ReportPart.objects.create(report=row, file="report.pdf", number=number, body=body)
    assert auditor.get(f"reports/{asked['id']}").json()["lines"] == {"access": 3}
    answer = auditor.post(f"reports/{asked['id']}/pdf")

    assert (answer.getvalue(), answer["Content-Type"]) == (b"%PDF-1.7", "application/pdf")
    (taken,) = events("report.taken")
    assert taken.actor == "person:mia@example.com"
    assert len(events("report.asked")) == 1


@pytest.mark.parametrize(
    "wish",
    [{"until": "2025-01-01T00:00:00Z"}, {"until": "9999-01-01T00:00:00Z"}, {"person": "ana@example.com"}],
    ids=["ends-first", "future", "nobody-in-soc2"],
)
def test_a_report_that_cannot_be_made_is_refused_at_once(ana: User, wish: dict[str, Any]) -> None:
    auditor = Api(person("mia@example.com", "auditor"))
    usual = {"pack": "soc2", "since": "2026-01-01T00:00:00Z", "until": "2026-04-01T00:00:00Z"}
    problem(auditor.post("reports", {**usual, **wish}), 422, "refused")
    assert not Report.objects.exists()


@pytest.fixture
def lee(ana: User) -> Api:
    """Who attests for Ana's agent."""
    with governed_change(by="test"):
        lee = person("lee@example.com", staff=False)
        User.objects.filter(pk=ana.pk).update(manager=lee)
        agent = Agent.objects.create(name="triage-bot", owner=User.objects.get(pk=ana.pk))
        Role.objects.create(name="support").agents.add(agent)
    return Api(lee)


def begin(sam: Api) -> Any:
    due = (datetime.now(UTC) + timedelta(days=14)).isoformat()
    return sam.post("access-reviews", {"title": "Q4", "scope": "all", "reviewers": "managers", "due_at": due})


def test_a_review_is_begun_attested_and_signed_off(sam: Api, lee: Api) -> None:
    review = made(begin(sam))
    assert (review["state"], review["total"], review["left"]) == ("open", 1, 1)
    (item,) = lee.get("access-review-items?mine=true").json()["results"]
    assert (item["subject"], item["held"], item["reviewer"]) == ("triage-bot", "role support", "lee@example.com")
    problem(sam.post(f"access-reviews/{review['id']}/close", {"summary": "Fine."}), 409, "conflict")
    assert sam.post(f"access-reviews/{review['id']}/remind").status_code == 200

    ended = lee.post(f"access-review-items/{item['id']}/decide", {"decision": "revoke", "reason": "Unused"})

    assert (ended.json()["effect"], ended.json()["decided_by"]) == ("the role was taken away", "lee@example.com")
    assert not Agent.objects.get().roles.exists()
    closed = sam.post(f"access-reviews/{review['id']}/close", {"summary": "One ended."}).json()
    assert (closed["state"], closed["counts"], closed["left"]) == ("closed", {"revoke": 1}, 0)
    kinds = ("access_review.started", "access_review.reminded", "access_review.revoked", "access_review.closed")
    assert [len(events(kind)) for kind in kinds] == [1, 1, 1, 1]


def test_what_is_not_hers_to_attest_nobody_decides(sam: Api, lee: Api) -> None:
    made(begin(sam))
    item, yes = AccessReviewItem.objects.get(), {"decision": "keep", "reason": "Needed"}
    max_ = Api(person("max@example.com", staff=False))
    problem(max_.post(f"access-review-items/{item.pk}/decide", yes), 404, "not_found")
    problem(sam.post(f"access-review-items/{item.pk}/decide", yes), 403, "permission_denied")
    less = Api(lee.person, scopes=[name for name in SCOPES if name != "reviews:attest"])
    problem(less.post(f"access-review-items/{item.pk}/decide", yes), 403, "missing_scope")
    assert not AccessReviewItem.objects.exclude(decision="").exists()


def test_a_review_of_nothing_is_not_begun(sam: Api) -> None:
    problem(begin(sam), 409, "conflict")
    due = "2030-01-01T00:00:00Z"
    wish = {"title": "Q4", "scope": "team", "scope_name": "ghosts", "reviewers": "managers", "due_at": due}
    assert fields_of(problem(sam.post("access-reviews", wish), 422, "refused")) == {"scope_name"}
    assert not AccessReview.objects.exists()
