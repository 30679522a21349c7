"""What rules about content would have done to recorded calls: with a reason on record, and nothing shown but places."""

from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.test import Client
from django.urls import reverse

from audit.models import EventRow
from gateway import what_if
from governance.models import Rule
from tests.gateway.signing_in import TOO_LONG, is_asked_again, let_time_pass, sign_in
from tests.gateway.test_content_rules import CARD, TOKEN
from tests.gateway.test_publishing_pages import Desk, desk

__all__ = ("desk",)
pytestmark = pytest.mark.django_db

REASON = "Before the rule on keys goes out"


def content_rule(effect: str = "deny", *findings: str, **fields: Any) -> Rule:
    return Rule(effect=effect, tools=["*"], findings=list(findings or ("secret",)), **fields)


def ask(client: Client, **fields: str) -> Any:
    return client.post(reverse("what_if"), {"policy": "refunds", "days": "7", "reason": REASON, **fields})


def opened() -> list[dict[str, Any]]:
    headers = EventRow.objects.filter(kind="payload.opened").values_list("header", flat=True)
    return [orjson.loads(bytes(header))["details"] for header in headers]


def test_a_draft_is_tried_on_what_was_sent(desk: Desk) -> None:
    desk.called("ticket_get", {"note": f"use {TOKEN}"})
    desk.called("ticket_get", {"note": TOKEN})
    desk.called("ticket_get", {"note": "nothing"})
    desk.called("ticket_get")
    desk.called("billing_refund", {"card": CARD}, ago=timedelta(days=9))
    desk.policy_draft(content_rule(), content_rule("flag", "personal_data"))
    answer = ask(sign_in("auditor"))
    shown = answer.content.decode()
    (line,) = answer.context["lines"]
    group, count, examples = line
    assert (group.effect, group.direction, group.detection, count) == ("deny", "arguments", "github_token", 2)
    assert [each.path for each in examples] == ["/arguments/note", "/arguments/note"]
    assert answer.context["told"].looked_at == 3
    assert TOKEN not in shown
    (told,) = opened()
    assert (told["reason"], told["tried"]) == (REASON, "policy:refunds")


def test_a_condition_that_cannot_hold_does_nothing(desk: Desk) -> None:
    desk.called("ticket_get", {"note": TOKEN, "via": "chat"})
    desk.policy_draft(
        content_rule(condition="args.via == 'mail'"),
        content_rule("flag", condition="args.via == 'chat' && time.hour >= 0", position=2),
    )
    groups = [group.effect for group, *_ in ask(sign_in("auditor")).context["lines"]]
    assert groups == ["flag"]


def test_it_stops_at_its_bound_and_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(what_if, "MOST_RECORDS", 3)
    monkeypatch.setattr(what_if, "PAGE", 2)
    for _ in range(5):
        desk.called("ticket_get", {"note": TOKEN})
    desk.policy_draft(content_rule())
    told = ask(sign_in("auditor")).context["told"]
    assert (told.looked_at, list(told.hits.values())) == (3, [3])
    assert told.left_out == "Only the newest 3 bodies were looked at."


def test_without_a_reason_nothing_is_opened(desk: Desk) -> None:
    desk.policy_draft(content_rule())
    for fields in ({"reason": "why"}, {"policy": "no-such"}, {"days": "900"}):
        assert (
            ask(sign_in("auditor", email=f"{len(fields)}{next(iter(fields))}@example.com"), **fields).status_code == 400
        )
    assert opened() == []


def test_it_takes_the_right_to_open_and_a_fresh_sign_in(desk: Desk) -> None:
    desk.policy_draft(content_rule())
    assert ask(sign_in("security")).status_code == 403
    auditor = sign_in("auditor", email="aud@example.com")
    let_time_pass(auditor, TOO_LONG)
    assert is_asked_again(ask(auditor))
    assert opened() == []
