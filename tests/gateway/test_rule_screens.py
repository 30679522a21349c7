"""The forms of rules, their tests, data scopes, the organisation and reactions, as people fill them in."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from governance.fence.actor import governed_change
from governance.models import (
    Bundle,
    Connector,
    Organization,
    Policy,
    PolicyVersion,
    Reaction,
    Role,
    Rule,
    Team,
    Tool,
    User,
)
from tests.gateway.admin_pages import HOUSE
from tests.gateway.signing_in import PASSWORD, enter

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]

RULE = {"effect": "ask", "on": "arguments", "tools": "billing_*", "condition": "args.amount > 100"}


@pytest.fixture
def owner(client: Client) -> Client:
    with governed_change(by="test"):
        User.objects.create_user("olga@example.com", PASSWORD, is_staff=True, is_superuser=True)
        Team.objects.create(name="leads")
    enter(client, "olga@example.com")
    return client


def rows(prefix: str, *entries: dict[str, Any], start: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = {f"{prefix}-TOTAL_FORMS": len(entries), f"{prefix}-INITIAL_FORMS": start}
    for place, entry in enumerate(entries):
        found |= {f"{prefix}-{place}-{name}": value for name, value in entry.items()}
    return found


def policy(rule: dict[str, Any], *tests: dict[str, Any]) -> dict[str, Any]:
    inline = {"versions-TOTAL_FORMS": 0, "versions-INITIAL_FORMS": 0}
    return {"name": "care", "is_in_force": "on", **rows("rules", rule), **rows("tests", *tests), **inline}


def test_who_decides_is_said_in_fields_and_shown_again(owner: Client) -> None:
    asked = {
        "approver_team": ["leads"],
        "approver_people": "Olga@example.com",
        "approver_manager": "on",
        "approver_count": 2,
        "approver_reason": "on",
        "approver_pending": "30m",
        "approver_escalate_after": "10m",
        "approver_escalate_to": ["leads"],
        "connectors": "help*",
        "risks": ["high"],
        "access": "write",
        "data_classes": "finance",
    }
    assert owner.post("/admin/governance/policy/add/", policy({**RULE, **asked})).status_code == 302
    rule = Rule.objects.get()
    assert rule.approvers == {
        "team": "leads",
        "people": ["olga@example.com"],
        "manager": True,
        "count": 2,
        "reason": "required",
        "pending": "30m",
        "escalate": {"after": "10m", "to": ["leads"]},
    }
    assert (rule.connectors, rule.risks, rule.access, rule.data_classes) == (["help*"], ["high"], "write", ["finance"])
    page = owner.get(f"/admin/governance/policy/{Policy.objects.get().pk}/change/").content.decode()
    assert 'value="30m"' in page
    assert "olga@example.com</textarea>" in page


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"approver_count": 9}, "less than or equal to 5"),
        ({"approver_pending": "soon"}, "Write a duration such as 15m"),
        ({"approver_escalate_after": "5m"}, "Say after how long, and to which teams"),
        ({"approver_people": "olga"}, "olga is no e-mail address"),
        ({"effect": "deny", "approver_team": ["leads"]}, "Only a rule that asks"),
        ({"effect": "mask", "on": "result", "condition": ""}, "This rule masks nothing"),
        ({"on": "result"}, "asks about a result"),
        ({"condition": "1 > 2"}, "is never true"),
        ({"data_classes": "Health!"}, "Use 1 to 63"),
    ],
)
def test_what_cannot_be_meant_is_told_at_its_field(owner: Client, change: dict[str, Any], told: str) -> None:
    answer = owner.post("/admin/governance/policy/add/", policy({**RULE, **change}))
    assert answer.status_code == 200
    assert told in answer.content.decode()
    assert not Policy.objects.exists()


def test_tests_are_run_on_demand_and_gate_publishing(owner: Client) -> None:
    passing = {"name": "Small", "tool": "billing_refund", "args": '{"amount": 5}', "expect": "permit"}
    failing = {"name": "Large", "tool": "billing_refund", "args": '{"amount": 500}', "expect": "deny"}
    filled = policy(RULE, passing, failing)
    page = owner.post("/admin/governance/policy/add/", {**filled, "_preview": "run-tests"}).content.decode()
    assert "Passes" in page
    assert "Test “Large” expects deny, but the rules say ask" in page
    assert "expects deny" in owner.post("/admin/governance/policy/add/", filled).content.decode()
    assert not Policy.objects.exists()
    assert owner.post("/admin/governance/policy/add/", policy(RULE, passing)).status_code == 302
    assert PolicyVersion.objects.get().tests == [
        {"name": "Small", "tool": "billing_refund", "args": {"amount": 5}, "expect": "permit"}
    ]


def test_what_the_checks_warn_of_is_told_when_it_is_saved(owner: Client) -> None:
    overruled = {**policy(RULE), **rows("rules", {**RULE, "effect": "deny", "condition": ""}, RULE)}
    told = owner.post("/admin/governance/policy/add/", overruled, follow=True).content.decode()
    assert "Rule 2: " in told
    assert "always" in told
    failing = {"name": "Large", "tool": "billing_refund", "args": '{"amount": 500}', "expect": "deny"}
    draft = {**policy(RULE, failing), "name": "other", "as_draft": "on"}
    told = owner.post("/admin/governance/policy/add/", draft, follow=True).content.decode()
    assert "is kept; nothing has changed yet" in told
    assert "expects deny" in told


def test_the_organisation_in_plain_lines(owner: Client) -> None:
    row, _ = Organization.objects.get_or_create()
    filled = {
        **HOUSE,
        "timezone": "America/New_York",
        "days": ["mon", "fri"],
        "opens": "08:30",
        "closes": "18:00",
        "holidays": "2026-12-25 Christmas\n2027-01-01",
        "networks": "office = 192.0.2.0/24, 2001:db8::/32",
        "requires_review": "on",
    }
    address = f"/admin/governance/organization/{row.pk}/change/"
    assert owner.post(address, filled).status_code == 302
    row.refresh_from_db()
    assert row.business_hours == {"days": ["mon", "fri"], "from": "08:30", "to": "18:00"}
    assert row.holidays == [{"date": "2026-12-25", "name": "Christmas"}, {"date": "2027-01-01", "name": ""}]
    assert row.networks == {"office": ["192.0.2.0/24", "2001:db8::/32"]}
    assert row.requires_review
    assert "2026-12-25 Christmas" in owner.get(address).content.decode()
    for wrong in ({"holidays": "Christmas"}, {"networks": "office = here"}, {"networks": "office"}, {"days": []}):
        assert owner.post(address, {**filled, **wrong}).status_code == 200


def test_only_an_owner_switches_review_off(owner: Client) -> None:
    with governed_change(by="test"):
        row, _ = Organization.objects.get_or_create()
        Organization.objects.update(requires_review=True)
        User.objects.create_user("sec@example.com", PASSWORD, is_staff=True, duties=["security"])
    browser = Client()
    enter(browser, "sec@example.com")
    address = f"/admin/governance/organization/{row.pk}/change/"
    assert browser.post(address, HOUSE).status_code == 302
    row.refresh_from_db()
    assert row.requires_review


def test_data_scopes_of_a_role_are_rows(owner: Client) -> None:
    with governed_change(by="test"):
        bundle = Bundle.objects.create(name="support")
    scope = {"tools": "billing_*", "when": "args.amount < 500", "text": "only up to 500"}
    filled = {"name": "agents", "bundles": [bundle.pk], **rows("scopes", scope, {"tools": "", "when": ""})}
    assert owner.post("/admin/governance/role/add/", filled).status_code == 302
    assert Role.objects.get().scopes == [
        {"tools": ["billing_*"], "when": "args.amount < 500", "text": "only up to 500"}
    ]
    broken = {**filled, "name": "others", **rows("scopes", {**scope, "when": "args.amount <"})}
    assert owner.post("/admin/governance/role/add/", broken).status_code == 200
    assert Role.objects.count() == 1


def test_a_reaction_says_what_goes_together(owner: Client) -> None:
    filled = {"name": "drift", "trigger": "drift", "action": "freeze_agent", "count": 1, "minutes": 10}
    filled |= {"lasting_minutes": 60, "is_enabled": "on", "approver_count": 1}
    answer = owner.post("/admin/governance/reaction/add/", filled)
    assert "only quarantine_tool is possible" in answer.content.decode()
    held = {**filled, "trigger": "finding", "action": "hold_run", "findings": ["secret"], "approver_team": ["leads"]}
    assert owner.post("/admin/governance/reaction/add/", held).status_code == 302
    assert Reaction.objects.get().approvers == {"team": "leads"}


def test_a_tool_is_said_to_read_strangers_or_send_data_out(owner: Client) -> None:
    with governed_change(by="test"):
        connector = Connector.objects.create(name="mail", urls=["http://127.0.0.1:1/mcp"])
        tool = Tool.objects.create(connector=connector, name="mail_send")
    said = {f"risk-{tool.pk}": "high", f"egress-{tool.pk}": "on", f"undo-{tool.pk}": "Mail cannot be taken back."}
    assert owner.post(reverse("connector_classify", args=[connector.pk]), {**said, "save": "yes"}).status_code == 302
    tool.refresh_from_db()
    assert (tool.risk, tool.is_egress, tool.is_untrusted, tool.undo) == (
        "high",
        True,
        False,
        "Mail cannot be taken back.",
    )
