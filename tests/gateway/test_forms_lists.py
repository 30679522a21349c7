"""What every list and row has: export, history, search, ids to copy, and the sidebar."""

import csv
import io
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit.models import EventRow, Mention
from gateway.console.exports import harmless
from gateway.console.navigation import GROUPS
from governance.fence.actor import governed_change
from governance.models import (
    Agent,
    AgentCredential,
    Bundle,
    Connector,
    Policy,
    Role,
    Secret,
    Team,
    Tool,
    ToolDefinition,
    User,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]

HOSTILE = "ticket\u202e<script>alert(1)</script>"
SignIn = Callable[..., Client]


@pytest.fixture
def sign_in() -> SignIn:
    def sign_in(*duties: str, owner: bool = False, email: str = "noor@example.com") -> Client:
        person = User.objects.create_user(email, is_staff=True, is_superuser=owner, duties=list(duties))
        client = Client()
        client.force_login(person)
        return client

    return sign_in


@pytest.fixture
def owner(sign_in: SignIn) -> Client:
    return sign_in(owner=True, email="owner@example.com")


def an_agent(name: str = "triage-bot", **fields: Any) -> Agent:
    ana, _ = User.objects.get_or_create(email="ana@example.com")
    return Agent.objects.create(name=name, owner=ana, **fields)


# Export


def export(client: Client, name: str, query: str = "") -> Any:
    return client.post(f"{reverse(f'admin:{name}_export')}?{query}")


def rows_of(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))


def test_a_list_is_exported_with_its_filters_and_that_is_recorded(sign_in: SignIn) -> None:
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


def test_an_export_takes_what_the_list_takes(sign_in: SignIn) -> None:
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


# History


def history(client: Client, row: Any) -> str:
    name = f"admin:governance_{row._meta.model_name}_history"
    answer = client.get(reverse(name, args=[row.pk]))
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_history_tells_who_changed_what_with_names(sign_in: SignIn) -> None:
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


def test_history_holds_what_belongs_to_the_row(sign_in: SignIn) -> None:
    role, agent, bundle = Role.objects.create(name="support-agent"), an_agent(), Bundle.objects.create(name="support")
    role.agents.add(agent)
    role.bundles.add(bundle)
    role.agents.remove(agent)
    page = history(sign_in("it-admin"), role)
    assert "role support-agent – bundle support</span> added" in page
    assert "role support-agent – agent triage-bot</span> taken off" in page
    assert "role support-agent – agent triage-bot</span> added" in history(sign_in("security", email="s@e.com"), agent)


def test_history_links_to_evidence_only_for_those_who_may_open_it(sign_in: SignIn) -> None:
    team = Team.objects.create(name="support")
    event = EventRow.objects.filter(kind="governance.changed").latest("id")
    link = reverse("admin:audit_eventrow_change", args=[event.pk])
    assert link in history(sign_in("auditor"), team)
    assert link not in history(sign_in("it-admin", email="ira@example.com"), team)


def test_history_takes_the_permission_of_the_row(sign_in: SignIn) -> None:
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
    Mention.objects.all()
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


def test_a_key_is_found_by_what_is_visible_of_it(owner: Client) -> None:
    AgentCredential.objects.create(agent=an_agent(), digest=b"x" * 32, hint="gate_ak_AbCdEf", created_by="test")
    assert search(owner, "gate_ak_AbC") == [("gate_ak_AbCdEf…", "agent")]
    assert search(owner, "gate_ak_AbCdEf" + "x" * 43) == [("gate_ak_AbCdEf…", "agent")]
    assert search(owner, "gate_ak_zzz") == []


def test_evidence_is_found_by_its_id(sign_in: SignIn) -> None:
    Team.objects.create(name="support")
    event = EventRow.objects.latest("id")
    assert search(sign_in("auditor"), str(event.pk))[0][1] == "evidence"
    assert search(sign_in("it-admin", email="ira@example.com"), str(event.pk)) == []


def test_nobody_finds_what_she_may_not_see(sign_in: SignIn) -> None:
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
    cache.clear()
    with CaptureQueriesContext(connection) as queries:
        search(owner, "desk")
    assert len(queries) <= 12


# Sidebar and lists


def test_the_sidebar_shows_only_what_opens(sign_in: SignIn) -> None:
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
