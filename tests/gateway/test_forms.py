"""Forms that tell beforehand what they would do, and what publishing from them makes of it."""

from typing import Any

import orjson
import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit.models import EventRow
from governance.bundles import publish_bundle
from governance.facts import Fact
from governance.models import (
    Agent,
    Bundle,
    BundleTool,
    BundleVersion,
    Connector,
    Freeze,
    Organization,
    Policy,
    PolicyVersion,
    RateLimit,
    Role,
    Rule,
    Team,
    Tool,
    ToolDefinition,
    User,
)
from governance.policies import publish_policy
from tests.gateway.admin_pages import HELPDESK, HOUSE, HOW_TO_REACH, no_inlines, post
from tests.gateway.signing_in import sign_in

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]

FACTS: list[Fact] = []
BIDI = "ticket_\u202edelete<b>"


def a_tool(connector: Connector, name: str, **fields: Any) -> Tool:
    tool = Tool.objects.create(connector=connector, name=name, **fields)
    schema = {"type": "object", "properties": {"amount": {"type": "number"}}}
    body = orjson.dumps({"name": name, "description": f"About {name}", "inputSchema": schema})
    ToolDefinition.objects.create(tool=tool, digest=f"{name:x<64}"[:64], body=body, status=ToolDefinition.Status.PINNED)
    return tool


class Desk:
    """A helpdesk with three tools; its bundle gives one of them, through a role, to three agents of Ana's."""

    def __init__(self) -> None:
        self.connector = Connector.objects.create(name="helpdesk")
        self.read = a_tool(self.connector, "ticket_get", is_read_only=True)
        self.delete = a_tool(self.connector, "ticket_delete", risk="high")
        self.refund = a_tool(self.connector, "billing_refund")
        self.policy = Policy.objects.create(name="care")
        self.bundle = Bundle.objects.create(name="support")
        self.publish(["ticket_get"])
        self.ana = User.objects.create_user("ana@example.com")
        self.role = Role.objects.create(name="support-agent")
        self.role.bundles.add(self.bundle)
        self.agents = [Agent.objects.create(name=f"bot-{number}", owner=self.ana) for number in range(3)]
        self.role.agents.set(self.agents)

    def publish(self, allow: list[str]) -> BundleVersion:
        with transaction.atomic():
            return publish_bundle(
                self.bundle,
                tools=[BundleTool(connector=self.connector, allow=allow, deny=[])],
                parents=[],
                policies=[self.policy],
                names="",
                recording="full",
                by="test",
                record=FACTS.append,
            )

    def bundle_form(self, *tools: Tool, **fields: Any) -> dict[str, Any]:
        newest = self.bundle.versions.order_by("-number").first()
        return {
            "title": "",
            "is_published": "on",
            "seen": newest.number if newest else "",
            "tools": [str(tool.pk) for tool in tools],
            f"tools-allow-{self.connector.pk}": "",
            f"tools-deny-{self.connector.pk}": "",
            "policies": [str(self.policy.pk)],
            "recording": "full",
            **no_inlines("versions"),
            **fields,
        }


@pytest.fixture
def desk() -> Desk:
    return Desk()


def rules_form(*rules: dict[str, Any], initial: int = 0, **fields: Any) -> dict[str, Any]:
    posted: dict[str, Any] = {
        "title": "",
        "is_in_force": "on",
        "rules-TOTAL_FORMS": len(rules),
        **no_inlines("versions"),
    }
    posted["rules-INITIAL_FORMS"] = initial
    for number, rule in enumerate(rules):
        values = {"effect": "deny", "on": "arguments", "tools": "*", "condition": "", "reason": "", **rule}
        posted |= {f"rules-{number}-{name}": value for name, value in values.items()}
    return posted | fields


def a_policy_that_denies_all() -> Policy:
    policy = Policy.objects.create(name="never")
    publish_policy(policy, rules=[Rule(effect="deny")], by="test", record=FACTS.append)
    return policy


def impact(client: Client, model: str, row: Any, **fields: Any) -> str:
    answer = post(client, f"governance_{model}_impact", row.pk, **fields)
    assert answer.status_code == 200
    return str(answer.content.decode())


def told(client: Client) -> list[str]:
    return [str(message) for message in client.get(reverse("admin:index")).context["messages"]]


# Before saving


def test_a_bundle_form_tells_who_would_gain_what(security: Client, desk: Desk) -> None:
    panel = impact(security, "bundle", desk.bundle, **desk.bundle_form(desk.read, desk.delete))
    assert "3 agents gain ticket_delete (high risk)" in panel
    assert 'data-tone="bad">High risk' in panel
    assert desk.bundle.versions.count() == 1


def test_looking_at_the_effect_writes_nothing(security: Client, desk: Desk) -> None:
    with CaptureQueriesContext(connection) as queries:
        impact(security, "bundle", desk.bundle, **desk.bundle_form(desk.read, desk.delete))
    first_words = {query["sql"].split()[0] for query in queries if "usersession" not in query["sql"]}
    assert first_words == {"SELECT"}


def test_a_role_form_tells_who_would_lose_what(desk: Desk) -> None:
    fields = {"title": "", "bundles": [str(desk.bundle.pk)], "agents": [str(desk.agents[0].pk)]}
    assert "2 agents lose ticket_get" in impact(sign_in("it-admin"), "role", desk.role, **fields)


def test_somebody_deactivated_takes_her_agents_along(desk: Desk) -> None:
    panel = impact(sign_in("it-admin"), "user", desk.ana, email=desk.ana.email, name="")
    assert "3 agents lose ticket_get" in panel


def test_a_policy_form_tells_who_would_be_asked(security: Client, desk: Desk) -> None:
    rule = {"effect": "ask", "condition": "args.amount > 100"}
    panel = impact(security, "policy", desk.policy, **rules_form(rule))
    assert "3 agents newly need a human&#x27;s yes in some cases before ticket_get" in panel


def test_saving_a_policy_that_binds_nobody_says_so(security: Client) -> None:
    post(security, "governance_policy_add", name="never", **rules_form({"reason": "No."}))
    assert any(message.startswith("It binds nobody yet.") for message in told(security))


def test_saving_a_policy_that_binds_somebody_does_not(security: Client, desk: Desk) -> None:
    post(security, "governance_policy_change", desk.policy.pk, **rules_form({"reason": "No."}))
    assert not any(message.startswith("It binds nobody yet.") for message in told(security))


def test_a_team_s_rules_count_for_the_agents_of_its_members(security: Client, desk: Desk) -> None:
    team = Team.objects.create(name="support")
    desk.ana.teams.add(team)
    publish_policy(
        deny := Policy.objects.create(name="never"), rules=[Rule(effect="deny")], by="t", record=FACTS.append
    )
    assert "3 agents lose ticket_get" in impact(security, "team", team, policies=[str(deny.pk)])


def test_the_organization_s_rules_count_for_all(security: Client, desk: Desk) -> None:
    organization = Organization.objects.create()
    publish_policy(
        deny := Policy.objects.create(name="never"), rules=[Rule(effect="deny")], by="t", record=FACTS.append
    )
    fields = {**HOUSE, "policies": [str(deny.pk)]}
    assert "3 agents lose ticket_get" in impact(security, "organization", organization, **fields)


def test_a_freeze_tells_what_it_stops_and_lifting_what_comes_back(security: Client, desk: Desk) -> None:
    answer = post(security, "governance_freeze_impact_of_new", connector=str(desk.connector.pk), reason="Drill")
    assert b"3 agents lose ticket_get" in answer.content
    freeze = Freeze.objects.create(connector=desk.connector, created_by="test")
    answer = post(security, "governance_freeze_changelist", action="lift", _selected_action=[str(freeze.pk)])
    assert b"3 agents gain ticket_get" in answer.content


def test_quarantine_and_switching_off_tell_what_they_take_away(desk: Desk) -> None:
    client = sign_in("it-admin")
    answer = post(client, "governance_tool_changelist", action="quarantine", _selected_action=[str(desk.read.pk)])
    assert b"3 agents lose ticket_get" in answer.content
    fields = {**HOW_TO_REACH, "urls": HELPDESK, "is_enabled": ""}
    assert "3 agents lose ticket_get" in impact(client, "connector", desk.connector, **fields)


def test_suspending_an_agent_takes_its_tools_away(desk: Desk) -> None:
    fields = {"title": "", "purpose": "", "owner": str(desk.ana.pk), "status": "suspended"}
    assert "bot-0 loses ticket_get" in impact(sign_in("it-admin"), "agent", desk.agents[0], **fields)


def test_deleting_a_role_tells_who_loses_by_it(desk: Desk) -> None:
    page = sign_in("it-admin").get(reverse("admin:governance_role_delete", args=[desk.role.pk]))
    assert b"3 agents lose ticket_get" in page.content
    assert b"_bundles object" not in page.content


def test_a_bundle_form_tells_who_would_read_what(security: Client, desk: Desk) -> None:
    patterns = {f"resources-allow-{desk.connector.pk}": "file:///handbook/*"}
    panel = impact(security, "bundle", desk.bundle, **desk.bundle_form(desk.read, **patterns))
    assert "3 agents gain resource:file:///handbook/*" in panel
    patterns |= {f"resources-deny-{desk.connector.pk}": "*/salaries/*"}
    panel = impact(security, "bundle", desk.bundle, **desk.bundle_form(desk.read, **patterns))
    assert "3 agents gain resource:file:///handbook/* without */salaries/*" in panel


def test_the_preview_button_saves_nothing(security: Client, desk: Desk) -> None:
    answer = post(
        security, "governance_bundle_change", desk.bundle.pk, **desk.bundle_form(desk.delete, title="New"), _preview="1"
    )
    assert b"3 agents gain ticket_delete" in answer.content
    desk.bundle.refresh_from_db()
    assert (desk.bundle.title, desk.bundle.versions.count()) == ("", 1)


def test_the_effect_is_not_shown_to_who_may_not_save(desk: Desk) -> None:
    fields = desk.bundle_form(desk.delete)
    assert post(sign_in("it-admin"), "governance_bundle_impact", desk.bundle.pk, **fields).status_code == 403


# Saving


def test_resources_and_prompts_are_published_and_shown_again(security: Client, desk: Desk) -> None:
    patterns = {
        f"resources-allow-{desk.connector.pk}": "file:///b/*\nfile:///a/*\n",
        f"resources-deny-{desk.connector.pk}": "*/salaries/*",
        f"prompts-allow-{desk.connector.pk}": "greet",
    }
    post(security, "governance_bundle_change", desk.bundle.pk, **desk.bundle_form(desk.read, **patterns))
    newest = BundleVersion.objects.get(number=2)
    assert list(newest.selections.order_by("kind").values_list("kind", "allow", "deny")) == [
        ("prompt", ["greet"], []),
        ("resource", ["file:///a/*", "file:///b/*"], ["*/salaries/*"]),
    ]
    page = security.get(reverse("admin:governance_bundle_change", args=[desk.bundle.pk])).content.decode()
    assert "file:///a/*\nfile:///b/*</textarea>" in page
    post(security, "governance_bundle_change", desk.bundle.pk, **desk.bundle_form(desk.read, **patterns))
    assert desk.bundle.versions.count() == 2
    shown = security.get(reverse("admin:governance_bundleversion_change", args=[newest.pk])).content.decode()
    assert "gives resources of helpdesk: file:///a/*" in shown
    assert "but never resources of helpdesk: */salaries/*" in shown


def test_what_is_excepted_needs_something_to_be_excepted_from(security: Client, desk: Desk) -> None:
    fields = desk.bundle_form(desk.read, **{f"prompts-deny-{desk.connector.pk}": "x"})
    answer = post(security, "governance_bundle_change", desk.bundle.pk, **fields)
    assert "nothing is chosen" in answer.context["adminform"].form.errors["prompts"][0]


def test_what_a_system_may_ask_is_ticked(desk: Desk) -> None:
    fields = {**HOW_TO_REACH, "urls": "https://a.example/mcp", "max_running": "5", "max_waiting": "0"}
    client, change = sign_in("it-admin"), "governance_connector_change"
    assert post(client, change, desk.connector.pk, **fields, relays=["elicitation"]).status_code == 302
    desk.connector.refresh_from_db()
    assert (desk.connector.relays, desk.connector.max_running) == (["elicitation"], 5)
    assert post(client, change, desk.connector.pk, **fields, relays=["everything"]).status_code == 200
    assert post(client, change, desk.connector.pk, **fields).status_code == 302
    desk.connector.refresh_from_db()
    assert desk.connector.relays == []


def test_a_rate_limit_limits_something() -> None:
    fields = {"name": "calm", "per": "team", "tools": "ticket_*\nresource:*", "window_seconds": "60"}
    client = sign_in("it-admin")
    answer = post(client, "governance_ratelimit_add", **fields)
    assert "Limit at least one" in answer.context["adminform"].form.non_field_errors()[0]
    assert post(client, "governance_ratelimit_add", **fields, max_running="2", is_enabled="on").status_code == 302
    limit = RateLimit.objects.get()
    assert (limit.tools, limit.max_running, limit.max_requests) == (["ticket_*", "resource:*"], 2, None)
    listed = client.get(reverse("admin:governance_ratelimit_changelist")).content.decode()
    assert "resource:*" in listed


def test_a_rate_limit_may_be_for_labelled_runs_only() -> None:
    fields = {"name": "slow", "per": "agent", "tools": "*", "window_seconds": "60", "max_requests": "5"}
    client = sign_in("it-admin")
    answer = post(client, "governance_ratelimit_add", **fields, labels="flagged\nNot a label")
    assert "A label has 1 to 64" in answer.context["adminform"].form.errors["labels"][0]
    asked = {**fields, "labels": "flagged\n\npersonal_data\n", "is_enabled": "on"}
    assert post(client, "governance_ratelimit_add", **asked).status_code == 302
    limit = RateLimit.objects.get()
    assert limit.labels == ["flagged", "personal_data"]
    assert "flagged, personal_data" in client.get(reverse("admin:governance_ratelimit_changelist")).content.decode()
    assert post(client, "governance_ratelimit_change", limit.pk, **fields, labels="").status_code == 302
    limit.refresh_from_db()
    assert limit.labels == []


def test_saving_publishes_the_next_version(security: Client, desk: Desk) -> None:
    answer = post(security, "governance_bundle_change", desk.bundle.pk, **desk.bundle_form(desk.read, desk.delete))
    assert answer.status_code == 302
    messages = told(security)
    assert "Version 2 is published." in messages
    version = desk.bundle.versions.get(state="published")
    assert (version.number, version.created_by) == (2, "person:sam@example.com")
    assert version.tools.get().allow == ["ticket_delete", "ticket_get"]


def test_saving_the_same_again_publishes_nothing(security: Client, desk: Desk) -> None:
    post(security, "governance_bundle_change", desk.bundle.pk, **desk.bundle_form(desk.read, title="Support"))
    desk.bundle.refresh_from_db()
    assert (desk.bundle.title, desk.bundle.versions.count()) == ("Support", 1)


def test_a_bundle_is_withdrawn_and_published_again(security: Client, desk: Desk) -> None:
    fields = desk.bundle_form(desk.read)
    fields.pop("is_published")
    assert "3 agents lose ticket_get" in impact(security, "bundle", desk.bundle, **fields)
    post(security, "governance_bundle_change", desk.bundle.pk, **fields)
    assert not desk.bundle.versions.filter(state="published").exists()
    post(security, "governance_bundle_change", desk.bundle.pk, **desk.bundle_form(desk.read))
    assert desk.bundle.versions.get(state="published").number == 2


def test_who_comes_too_late_overwrites_nothing(security: Client, desk: Desk) -> None:
    fields = desk.bundle_form(desk.delete)
    desk.publish(["billing_refund"])
    answer = post(security, "governance_bundle_change", desk.bundle.pk, **fields)
    assert b"Somebody else published version 2" in answer.content
    assert desk.bundle.versions.count() == 2


def test_a_tool_called_like_a_pattern_gives_only_itself(security: Client, desk: Desk) -> None:
    star = a_tool(desk.connector, "*")
    assert "gain * (can change data)" in impact(security, "bundle", desk.bundle, **desk.bundle_form(desk.read, star))
    post(security, "governance_bundle_change", desk.bundle.pk, **desk.bundle_form(star))
    assert desk.bundle.versions.get(state="published").tools.get().allow == ["[*]"]
    page = security.get(reverse("admin:governance_bundle_change", args=[desk.bundle.pk])).content.decode()
    assert f'value="{star.pk}" checked' in page


def test_a_new_bundle_is_published_at_once(security: Client, desk: Desk) -> None:
    fields = desk.bundle_form(desk.read, name="triage", seen="", policies=[])
    assert post(security, "governance_bundle_add", **fields).status_code == 302
    assert Bundle.objects.get(name="triage").versions.get().tools.get().allow == ["ticket_get"]


def test_bundles_do_not_inherit_in_a_circle(security: Client, desk: Desk) -> None:
    child = Bundle.objects.create(name="child")
    BundleVersion.objects.create(bundle=child, number=1, created_by="test").parents.add(desk.bundle)
    fields = desk.bundle_form(desk.read, inherits=[str(child.pk)])
    answer = post(security, "governance_bundle_change", desk.bundle.pk, **fields)
    assert b"inherit from each other in a circle" in answer.content


def test_hostile_tool_names_are_shown_whole_and_harmless(security: Client, desk: Desk) -> None:
    a_tool(desk.connector, BIDI)
    page = security.get(reverse("admin:governance_bundle_change", args=[desk.bundle.pk])).content.decode()
    assert "ticket_⟦U+202E⟧delete&lt;b&gt;" in page
    assert BIDI not in page


# Rules


def test_rules_are_put_into_force_as_the_next_version(security: Client, desk: Desk) -> None:
    lead = Team.objects.create(name="leads")
    ask = {"effect": "ask", "tools": "ticket_*", "approver_team": lead.name, "approver_count": 2, "reason": "Costly"}
    answer = post(
        security, "governance_policy_change", desk.policy.pk, **rules_form(ask, {"condition": "args.amount > 9"})
    )
    assert answer.status_code == 302
    first, second = PolicyVersion.objects.get(policy=desk.policy, state="published").rules.order_by("position")
    assert (first.effect, first.tools, first.approvers) == ("ask", ["ticket_*"], {"team": "leads", "count": 2})
    assert (second.effect, second.condition, second.is_checked) == ("deny", "args.amount > 9", True)


@pytest.mark.parametrize(
    ("condition", "complaint"),
    [
        ("args.amount >", "Line 1"),
        ("1 > 2", "never true"),
        ("args.amout > 1", "This can never match"),
        ("nonsense == 1", "not known here"),
    ],
)
def test_a_condition_that_cannot_work_is_refused_with_the_reason(
    security: Client, desk: Desk, condition: str, complaint: str
) -> None:
    answer = post(security, "governance_policy_change", desk.policy.pk, **rules_form({"condition": condition}))
    assert complaint in answer.content.decode()
    assert not desk.policy.versions.exists()


def test_an_untouched_new_rule_is_no_rule(security: Client, desk: Desk) -> None:
    empty = {"effect": "", "tools": "*", "approver_count": 1}
    post(security, "governance_policy_change", desk.policy.pk, **rules_form({"tools": "ticket_*"}, empty))
    assert PolicyVersion.objects.get().rules.count() == 1


def test_without_scripts_another_rule_comes_by_button(security: Client, desk: Desk) -> None:
    fields = rules_form({"tools": "billing_*"}, _preview="add-rule")
    page = post(security, "governance_policy_change", desk.policy.pk, **fields).content.decode()
    assert 'name="rules-1-effect"' in page
    assert "billing_*" in page
    assert not PolicyVersion.objects.exists()


def test_a_rule_is_taken_out(security: Client, desk: Desk) -> None:
    version = publish_policy(desk.policy, rules=[Rule(effect="deny")], by="test", record=FACTS.append)
    fields = rules_form({"DELETE": "on"}, initial=1, seen=version.number)
    assert "3 agents gain ticket_get" in impact(security, "policy", desk.policy, **fields)
    post(security, "governance_policy_change", desk.policy.pk, **fields)
    assert not desk.policy.versions.get(state="published").rules.exists()


def test_the_hint_below_a_pattern_says_what_it_matches(security: Client, desk: Desk) -> None:
    answer = security.get(reverse("admin:governance_policy_matching"), {"glob": ["helpdesk/ticket_*"]})
    assert answer.json() == {"told": "Matches 2 tools: ticket_delete, ticket_get"}
    fields = {"glob": "billing_*", "connector": str(desk.connector.pk)}
    assert security.get(reverse("admin:governance_bundle_matching"), fields).json()["told"].endswith("billing_refund")


# Versions


def test_a_version_is_compared_with_the_one_before_in_words(security: Client, desk: Desk) -> None:
    later = desk.publish(["ticket_*"])
    page = security.get(reverse("admin:governance_bundleversion_change", args=[later.pk])).content.decode()
    assert "gives helpdesk: ticket_*" in page
    assert "gives helpdesk: ticket_get" in page
    publish_policy(desk.policy, rules=[Rule(effect="deny", tools=["a"])], by="test", record=FACTS.append)
    rule = Rule(effect="ask", tools=["b"], condition="args.x > 1", reason="Why")
    second = publish_policy(desk.policy, rules=[rule], by="test", record=FACTS.append)
    page = security.get(reverse("admin:governance_policyversion_change", args=[second.pk])).content.decode()
    assert "ask before b when args.x &gt; 1: Why" in page


def test_publishing_leaves_its_fact(security: Client, desk: Desk) -> None:
    post(security, "governance_bundle_change", desk.bundle.pk, **desk.bundle_form(desk.delete))
    event = EventRow.objects.get(kind="bundle.published")
    assert event.actor == "person:sam@example.com"
