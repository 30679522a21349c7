"""What every list and row has: export, history, search, ids to copy, and the sidebar."""

import csv
import io
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from audit.event import AuditEvent, uuid7
from audit.models import Checkpoint, EventRow, Leaf, Mention
from audit.record import record
from gateway.console.navigation import GROUPS
from gateway.models import GatewayProcess
from gateway.streams import harmless
from governance.bundles import publish_bundle
from governance.fence.actor import governed_change
from governance.models import (
    Agent,
    AgentCredential,
    Bundle,
    BundleTool,
    Change,
    Connector,
    Freeze,
    Offboarding,
    Policy,
    RateLimit,
    Role,
    Rule,
    Secret,
    Team,
    Tool,
    ToolDefinition,
    User,
)
from governance.personal_tokens import issue_token
from governance.policies import publish_policy
from tests.gateway.rows import an_agent
from tests.gateway.signing_in import sign_in

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]

NOW = timezone.now()
HOSTILE = "ticket\u202e<script>alert(1)</script>"


# Export


def export(client: Client, name: str, query: str = "") -> Any:
    return client.post(f"{reverse(f'admin:{name}_export')}?{query}")


def rows_of(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))


def test_a_list_is_exported_with_its_filters_and_that_is_recorded() -> None:
    client = sign_in("it-admin")
    Team.objects.create(name="support", title="Support")
    Team.objects.create(name="sales")
    rows = rows_of(export(client, "governance_team", "q=supp"))
    assert [(row["Name"], row["Title"], row["id"]) for row in rows] == [
        ("support", "Support", str(Team.objects.get(name="support").pk))
    ]
    event = EventRow.objects.get(kind="list.exported")
    details = orjson.loads(bytes(event.header))["details"]
    assert (event.actor, details["subject"], details["filters"]) == (
        "person:noor@example.com",
        "list:governance.team",
        "q=supp",
    )


def test_an_export_takes_what_the_list_takes() -> None:
    assert export(sign_in("it-admin"), "governance_policy").status_code == 403
    client = sign_in("security", email="sam@example.com")
    assert client.get(reverse("admin:governance_policy_export")).status_code == 403
    assert not EventRow.objects.filter(kind="list.exported").exists()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r@x"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert harmless(text) == f"'{text}"


def test_what_an_upstream_calls_its_tool_is_no_formula(owner: Client) -> None:
    Tool.objects.create(connector=Connector.objects.create(name="crm"), name='=HYPERLINK("https://mallory.example")')
    (row,) = rows_of(export(owner, "governance_tool"))
    assert row["Name"].startswith("'=HYPERLINK")


def test_every_list_can_be_exported(owner: Client) -> None:
    an_agent()
    for entries in GROUPS.values():
        for entry in entries:
            if entry.view.endswith("_changelist"):
                answer: Any = owner.post(reverse(entry.view.replace("_changelist", "_export")))
                assert (answer.status_code, next(iter(answer.streaming_content))[:2]) == (200, b"id"), entry.view


@pytest.fixture
def night_bot() -> Agent:
    """With a role for ticket_get, a definition to review, and a finished offboarding."""
    connector, bundle = Connector.objects.create(name="helpdesk"), Bundle.objects.create(name="support")
    tool = Tool.objects.create(connector=connector, name="ticket_get")
    ToolDefinition.objects.create(tool=tool, digest="a" * 64, body=b'{"name":"ticket_get"}', status="pinned")
    ToolDefinition.objects.create(tool=tool, digest="b" * 64, body=b'{"name":"ticket_get","x":1}')
    tools = [BundleTool(connector=connector, allow=["ticket_*"], deny=[])]
    rest: Any = {"names": "", "recording": "full", "by": "test", "record": [].append}
    publish_bundle(bundle, tools=tools, parents=[], policies=[], **rest)
    role, agent = Role.objects.create(name="support-agent"), an_agent("night-bot")
    role.bundles.add(bundle)
    role.agents.add(agent)
    Offboarding.objects.create(person=agent.owner, due_at=timezone.now(), created_by="person:ira@example.com")
    return agent


def test_tables_of_other_pages_are_taken_along_too(owner: Client, night_bot: Agent) -> None:
    pages: dict[str, tuple[Any, dict[str, str]]] = {
        "agent_reach": (night_bot.pk, {"agent": "night-bot", "tool": "ticket_get", "roles": "support-agent"}),
        "tool_callers": (Tool.objects.get().pk, {"tool": "helpdesk/ticket_get", "agent": "night-bot"}),
        "review_queue": (None, {"tool": "ticket_get", "what": "changed", "digest": "b" * 64}),
        "offboardings": (None, {"person": night_bot.owner.email, "state": "Scheduled"}),
    }
    for name, (key, wanted) in pages.items():
        address = reverse(name, args=[key] if key else [])
        assert "Export CSV" in owner.get(address).content.decode()
        (row,) = rows_of(owner.post(address))
        assert row.items() >= wanted.items()
    assert EventRow.objects.filter(kind="list.exported").count() == len(pages)
    assert sign_in("approver").post(reverse("offboardings")).status_code == 403


def test_every_id_in_a_list_can_be_copied(owner: Client, night_bot: Agent) -> None:
    Freeze.objects.create(agent=night_bot, created_by="person:ira@example.com")
    process = GatewayProcess.objects.create(id=uuid7(), host="gw-1", pid=1, started_at=NOW, beat_at=NOW)
    event = EventRow.objects.latest("id")
    Leaf.objects.create(index=0, event_id=event.pk, hash=b"l" * 32)
    Checkpoint.objects.create(size=1, at=NOW, root=b"r" * 32, note="")
    wanted = {
        "governance_freeze": str(Freeze.objects.get().pk),
        "governance_change": Change.objects.latest("id").object_id,
        "audit_eventrow": str(event.pk),
        "audit_leaf": (b"l" * 32).hex(),
        "audit_checkpoint": (b"r" * 32).hex(),
        "gateway_gatewayprocess": str(process.pk),
    }
    for name, key in wanted.items():
        page = owner.get(reverse(f"admin:{name}_changelist") + ("?view=all" if name == "audit_eventrow" else ""))
        assert f'data-copy-text="{key}"' in page.content.decode(), name


# History


def history(client: Client, row: Any) -> str:
    name = f"admin:governance_{row._meta.model_name}_history"
    answer = client.get(reverse(name, args=[row.pk]))
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_history_tells_who_changed_what_with_names() -> None:
    agent, lee = an_agent(), User.objects.create_user("lee@example.com")
    with governed_change(by="person:ira@example.com"):
        agent.owner, agent.status = lee, "suspended"
        agent.save()
    page = history(sign_in("it-admin"), agent)
    assert "agent triage-bot</span> changed <span" in page
    assert "by person:ira@example.com" in page
    assert '<del><span class="gh-only-heard">before:</span>ana@example.com</del>' in page
    assert '<ins><span class="gh-only-heard">after:</span>lee@example.com</ins>' in page
    assert "Suspended</ins>" in page


def test_history_holds_what_belongs_to_the_row() -> None:
    role, agent, bundle = Role.objects.create(name="support-agent"), an_agent(), Bundle.objects.create(name="support")
    role.agents.add(agent)
    role.bundles.add(bundle)
    role.agents.remove(agent)
    page = history(sign_in("it-admin"), role)
    assert "role support-agent – bundle support</span> added" in page
    assert "role support-agent – agent triage-bot</span> taken off" in page
    assert "role support-agent – agent triage-bot</span> added" in history(sign_in("security", email="s@e.com"), agent)


def test_history_links_to_evidence_only_for_those_who_may_open_it() -> None:
    team = Team.objects.create(name="support")
    event = EventRow.objects.filter(kind="governance.changed").latest("id")
    link = reverse("admin:audit_eventrow_change", args=[event.pk])
    assert link in history(sign_in("auditor"), team)
    assert link not in history(sign_in("it-admin", email="ira@example.com"), team)


def test_history_takes_the_permission_of_the_row() -> None:
    policy = Policy.objects.create(name="care")
    url = reverse("admin:governance_policy_history", args=[policy.pk])
    assert sign_in("it-admin").get(url).status_code == 403


def test_history_is_paged_without_counting(owner: Client) -> None:
    team = Team.objects.create(name="support")
    for number in range(60):
        Team.objects.filter(pk=team.pk).update(title=f"Title {number}")
    url = reverse("admin:governance_team_history", args=[team.pk])
    with CaptureQueriesContext(connection) as queries:
        first = owner.get(url)
    assert not any("COUNT" in query["sql"] and "mention" in query["sql"] for query in queries)
    older = first.context["older"]
    assert (len(first.context["entries"]), len(owner.get(url + older).context["entries"])) == (50, 11)


def test_history_shows_hostile_text_harmless(owner: Client) -> None:
    tool = Tool.objects.create(connector=Connector.objects.create(name="crm"), name=HOSTILE)
    page = history(owner, tool)
    assert "<script>alert" not in page
    assert "⟦U+202E⟧" in page


def test_mentions_name_each_row_of_a_change_once(owner: Client) -> None:
    agent = an_agent()
    before = Mention.objects.count()
    Agent.objects.filter(pk=agent.pk).update(title="Triage")
    new = Mention.objects.order_by("id")[before:]
    assert sorted(mention.object_id for mention in new) == sorted([agent.pk.hex, agent.owner_id.hex])
    assert len({mention.event_id for mention in new}) == 1


# Search


def search(client: Client, term: str) -> list[tuple[str, str]]:
    hits = client.get(reverse("search"), {"q": term}).context["hits"]
    return [(hit.title, hit.description.partition(" ")[0]) for hit in hits]


def test_one_box_finds_everything(owner: Client) -> None:
    agent = an_agent("desk-bot")
    User.objects.create_user("desk@example.com")
    connector = Connector.objects.create(name="desk-system")
    Tool.objects.create(connector=connector, name="desk_open")
    for model in (Bundle, Policy, Role, Team, Secret):
        model.objects.create(name=f"desk-{model._meta.model_name}")
    found = set(search(owner, "desk"))
    assert {
        ("desk-bot", "agent"),
        ("desk@example.com", "person"),
        ("desk-system", "connector"),
        ("desk_open", "tool"),
        ("desk-bundle", "bundle"),
        ("desk-policy", "policy"),
        ("desk-role", "role"),
        ("desk-team", "team"),
        ("desk-secret", "secret"),
    } <= found
    assert ("triage-bot", "agent") not in found
    assert [title for title, _ in search(owner, str(agent.pk))] == ["desk-bot"]
    assert ("Offboarding", "End") in search(owner, "offboarding")


def links(client: Client, term: str) -> list[str]:
    return [hit.link for hit in client.get(reverse("search"), {"q": term}).context["hits"]]


def test_a_connector_is_found_by_its_host_and_leads_to_its_page(owner: Client) -> None:
    connector = Connector.objects.create(name="crm", urls=["https://crm-eu.example.net:8443/mcp"])
    page = reverse("connector_overview", args=[connector.pk])
    for term in ("crm-eu.example.net", "example.net:8443/mcp", "crm", str(connector.pk)):
        assert links(owner, term) == [page], term


def test_a_tool_is_found_by_what_is_served_of_its_description(owner: Client) -> None:
    tool = Tool.objects.create(connector=Connector.objects.create(name="crm"), name="customer_get")
    says = {"name": tool.name, "description": 'Looks up a "Größe" by Tax Number'}
    old, served = ToolDefinition.Status.SUPERSEDED, ToolDefinition.Status.PINNED
    ToolDefinition.objects.create(tool=tool, digest="a" * 64, body=orjson.dumps(says), status=served)
    ToolDefinition.objects.create(tool=tool, digest="b" * 64, body=b'{"description":"outdated"}', status=old)
    for term in ("tax number", '"Größe" by'):
        assert search(owner, term) == [("customer_get", "tool")]
    assert search(owner, "outdated") == []
    assert search(owner, "tax") == []


def test_words_of_a_rule_lead_to_its_policy(owner: Client) -> None:
    policy = Policy.objects.create(name="care")
    rules = [Rule(effect="deny", tools=["billing_*"], condition="args.amount > 100", reason="Ask a team lead first")]
    publish_policy(policy, rules=rules, by="test", record=[].append)
    page = reverse("admin:governance_policy_change", args=[policy.pk])
    for term in ("team lead", "args.amount", "billing_"):
        assert links(owner, term) == [page], term


def test_freezes_are_found_by_reason_and_target(owner: Client) -> None:
    freeze = Freeze.objects.create(
        agent=an_agent("night-bot"), reason="Sends odd mails", created_by="person:x@example.com"
    )
    page = reverse("admin:governance_freeze_change", args=[freeze.pk])
    for term in ("odd mails", "night-bot", str(freeze.pk)):
        assert page in links(owner, term), term


def test_a_rate_limit_is_found_by_its_name(owner: Client) -> None:
    limit = RateLimit.objects.create(name="night-shift", max_requests=600, per="team")
    page = reverse("admin:governance_ratelimit_change", args=[limit.pk])
    assert search(owner, "night-sh") == [("night-shift", "rate")]
    assert links(owner, str(limit.pk)) == [page]


def test_a_personal_token_is_found_by_its_hint(owner: Client) -> None:
    mia = User.objects.create_user("mia@example.com")
    token = issue_token(
        mia,
        name="nightly",
        scopes=["read"],
        by="test",
        record=[].append,
        now=timezone.now(),
        lifetime=timedelta(days=1),
    )
    for term in (token.row.hint, token.token):
        assert [title for title, _ in search(owner, term)] == [f"{token.row.hint}… nightly"]
    assert search(sign_in("approver"), token.row.hint) == []


def test_a_call_id_leads_to_the_page_of_the_call() -> None:
    call = uuid7()
    for kind in ("call.intent", "call.outcome"):
        record(
            AuditEvent(
                kind=kind,
                at=timezone.now(),
                actor="agent:triage-bot",
                call_id=call,
                agent="triage-bot",
                tool="ticket_get",
            )
        )
    refused = AuditEvent(
        kind="call.refused", at=timezone.now(), actor="agent:triage-bot", agent="triage-bot", tool="ticket_get"
    )
    record(refused)
    auditor = sign_in("auditor")
    assert links(auditor, str(call))[0] == reverse("call_page", args=[call])
    assert len(links(auditor, str(call))) == 3
    assert links(auditor, str(refused.id))[0] == reverse("call_page", args=[refused.id])


def test_a_key_is_found_by_what_is_visible_of_it(owner: Client) -> None:
    AgentCredential.objects.create(agent=an_agent(), digest=b"x" * 32, hint="gate_ak_AbCdEf", created_by="test")
    assert search(owner, "gate_ak_AbC") == [("gate_ak_AbCdEf…", "agent")]
    assert search(owner, "gate_ak_AbCdEf" + "x" * 43) == [("gate_ak_AbCdEf…", "agent")]
    assert search(owner, "gate_ak_zzz") == []


def test_evidence_is_found_by_its_id() -> None:
    Team.objects.create(name="support")
    event = EventRow.objects.latest("id")
    assert search(sign_in("auditor"), str(event.pk))[0][1] == "evidence"
    assert search(sign_in("it-admin", email="ira@example.com"), str(event.pk)) == []


def test_nobody_finds_what_she_may_not_see() -> None:
    Policy.objects.create(name="desk-policy")
    Secret.objects.create(name="desk-secret")
    an_agent("desk-bot")
    assert search(sign_in("approver"), "desk") == [("desk-bot", "agent")]


def test_hostile_names_are_harmless_in_results(owner: Client) -> None:
    Tool.objects.create(connector=Connector.objects.create(name="crm"), name=HOSTILE)
    for query in ({"q": "ticket"}, {"s": "ticket", "extended": "1"}):
        page = owner.get(reverse("search"), query).content.decode()
        assert "<script>alert" not in page
        assert "ticket⟦U+202E⟧" in page


@pytest.mark.parametrize("term", ["", "x", "%", "\0\0\0", "é" * 300, "a/b/c", "' OR 1=1 --"])
def test_odd_terms_find_nothing_and_break_nothing(owner: Client, term: str) -> None:
    assert search(owner, term) == []


def test_a_search_costs_few_queries(owner: Client) -> None:
    for term in ("desk", "gate_ak_AbCd", "gate_pt_AbCd", str(an_agent().pk), str(uuid7())):
        cache.clear()
        with CaptureQueriesContext(connection) as queries:
            search(owner, term)
        assert len(queries) <= 12, term


# Sidebar and lists


def test_the_sidebar_shows_only_what_opens() -> None:
    client = sign_in("auditor")
    titles = {
        item["title"]
        for group in client.get(reverse("admin:index")).context["sidebar_navigation"]
        for item in group["items"]
    }
    assert {"Home", "Events", "Explain", "Offboarding"} <= titles
    assert "New connector" not in titles
    for entries in GROUPS.values():
        for entry in entries:
            is_open = client.get(reverse(entry.view)).status_code == 200
            assert (entry.title in titles) == is_open, entry.title


def test_what_waits_stands_beside_its_page(owner: Client) -> None:
    cache.clear()
    tool = Tool.objects.create(connector=Connector.objects.create(name="crm", last_error="down"), name="search")
    ToolDefinition.objects.create(tool=tool, digest="d", body=b"{}")
    items = [
        item for group in owner.get(reverse("admin:index")).context["sidebar_navigation"] for item in group["items"]
    ]
    badges = {item["title"]: item["badge"] for item in items if "badge" in item}
    assert badges == {"Review queue": "1", "Connectors": "1"}
    cache.clear()


def test_ids_can_be_copied_from_lists(owner: Client) -> None:
    team = Team.objects.create(name="support")
    page = owner.get(reverse("admin:governance_team_changelist")).content.decode()
    assert f'data-copy-text="{team.pk}"' in page
