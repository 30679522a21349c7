"""Agents' pages, keys, explanations and matrices through their URLs."""

import csv
import io
import json
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit.event import AuditEvent, uuid7
from audit.models import CallTally, EventRow
from audit.record import record
from gateway.console.once import new_ticket
from governance.agent_keys import key_digest
from governance.bundles import publish_bundle
from governance.models import (
    Agent,
    AgentCredential,
    Bundle,
    BundleSelection,
    BundleTool,
    BundleVersion,
    Connector,
    Freeze,
    Policy,
    Role,
    Rule,
    Team,
    Tool,
    ToolDefinition,
    User,
)
from governance.policies import publish_policy
from tests.gateway.rows import a_key
from tests.gateway.signing_in import TOO_LONG, browser_of, is_asked_again, let_time_pass, person, sign_in

pytestmark = [pytest.mark.django_db, pytest.mark.database]

HOSTILE = "wipe\u202e<script>alert(1)</script>"


@pytest.fixture
def it() -> Client:
    """The browser of an IT admin."""
    return sign_in("it-admin")


@pytest.fixture
def bot() -> Agent:
    ana, _ = User.objects.get_or_create(email="ana@example.com")
    return Agent.objects.create(name="triage-bot", owner=ana, purpose="Sorts new tickets")


def a_tool(name: str, connector: Connector, **schema: Any) -> Tool:
    tool = Tool.objects.create(connector=connector, name=name)
    body = orjson.dumps({"name": name, "inputSchema": {"type": "object", "properties": schema}})
    ToolDefinition.objects.create(tool=tool, digest=name.ljust(64, "0"), body=body, status="pinned")
    return tool


@pytest.fixture
def desk(bot: Agent) -> Role:
    """A role that gives the bot the bundle `support`, in which big refunds are refused."""
    helpdesk = Connector.objects.create(name="helpdesk", urls=["https://helpdesk.example.com/mcp"])
    a_tool("ticket_get", helpdesk, id={"type": "string"})
    a_tool("billing_refund", helpdesk, amount={"type": "number"}, order={"type": "string"})
    a_tool(HOSTILE, helpdesk)
    policy, bundle = Policy.objects.create(name="big-refunds"), Bundle.objects.create(name="support")
    rule = Rule(effect="deny", tools=["billing_refund"], condition="args.amount > 100", reason="Ask a lead")
    publish_policy(policy, rules=[rule], by="test", record=[].append)
    publish_bundle(
        bundle,
        tools=[BundleTool(connector=helpdesk, allow=["ticket_*", "billing_*"])],
        parents=[],
        policies=[policy],
        names="",
        recording="full",
        by="test",
        record=[].append,
    )
    role = Role.objects.create(name="support-agent")
    role.bundles.add(bundle)
    role.agents.add(bot)
    return role


def page(client: Client, name: str, *arguments: Any, **query: Any) -> Any:
    return client.get(reverse(name, args=arguments), query)


def post(client: Client, name: str, *arguments: Any, **fields: Any) -> Any:
    return client.post(reverse(name, args=arguments), fields)


def text_of(answer: Any) -> str:
    return str(answer.content.decode())


def facts(kind: str) -> list[EventRow]:
    """In no order."""
    return list(EventRow.objects.filter(kind=kind))


def details(row: EventRow) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(bytes(row.header))["details"]
    return found


# One agent


def test_the_overview_says_what_it_may_and_why(it: Client, bot: Agent, desk: Role) -> None:
    shown = text_of(page(it, "agent_overview", bot.pk))
    assert "Sorts new tickets" in shown
    assert "support-agent → support v1" in shown
    assert "args.amount &gt; 100" in shown
    assert "may call it in some cases" in shown
    assert reverse("agent_freeze", args=[bot.pk]) in shown


def test_the_overview_tells_the_last_calls_and_when_a_key_was_used(
    bot: Agent, django_assert_max_num_queries: Any
) -> None:
    key, now, call = a_key(bot, "gate_ak_abcd"), timezone.now(), uuid7()
    common = {"at": now, "actor": "agent:triage-bot", "agent": "triage-bot", "tool": "ticket_get", "call_id": call}
    record(AuditEvent(kind="call.intent", decision="permit", details={"credential": key.pk.hex}, **common))
    record(AuditEvent(kind="call.outcome", decision="permit", outcome="ok", **common))
    hour = now.replace(minute=0, second=0, microsecond=0)
    CallTally.objects.create(hour=hour, agent="triage-bot", decision="permit", outcome="ok", calls=3)
    CallTally.objects.create(hour=hour - timedelta(hours=30), agent="triage-bot", outcome="ok", calls=1000)
    owner = sign_in(owner=True)
    with django_assert_max_num_queries(50):
        answer = page(owner, "agent_overview", bot.pk)
    assert [(c.call_id, c.outcome) for c in answer.context["calls"]] == [(call, "ok")]
    assert answer.context["keys"][0].used_at == now
    assert answer.context["day"].calls == 3


def test_an_approver_sees_the_agent_but_neither_keys_nor_calls(bot: Agent, desk: Role) -> None:
    a_key(bot, "gate_ak_abcd")
    answer = page(sign_in("approver"), "agent_overview", bot.pk)
    assert answer.status_code == 200
    assert [answer.context[name] for name in ("keys", "lines", "calls", "day")] == [None] * 4
    assert "gate_ak_" not in text_of(answer)


ACTS = ("suspend", "resume", "freeze", "unfreeze", "transfer", "retire", "issue_key", "revoke_keys")


@pytest.mark.parametrize("duty", ["security", "approver", "auditor"])
def test_only_it_touches_agents(bot: Agent, duty: str) -> None:
    client = sign_in(duty)
    allowed = {act for act in ACTS if post(client, f"agent_{act}", bot.pk).status_code != 403}
    assert allowed == ({"freeze", "unfreeze"} if duty == "security" else set())


@pytest.mark.parametrize("act", ["issue_key", "retire"])
def test_dangerous_acts_want_a_fresh_sign_in(it: Client, bot: Agent, act: str) -> None:
    let_time_pass(it, TOO_LONG)
    answer = post(it, f"agent_{act}", bot.pk, expiry="90")
    bot.refresh_from_db()
    assert is_asked_again(answer)
    assert "Nothing was saved yet" in text_of(answer)
    assert (bot.status, bot.credentials.count()) == ("live", 0)


def test_looking_at_an_act_does_nothing(it: Client, bot: Agent) -> None:
    a_key(bot, "gate_ak_abcd")
    for act in ACTS:
        assert page(it, f"agent_{act}", bot.pk).status_code == 200
    bot.refresh_from_db()
    assert (bot.status, bot.credentials.filter(revoked_at=None).count(), Freeze.objects.count()) == ("live", 1, 0)


def test_suspend_and_resume(it: Client, bot: Agent) -> None:
    assert post(it, "agent_suspend", bot.pk).status_code == 302
    assert Agent.objects.get().status == "suspended"
    assert post(it, "agent_suspend", bot.pk).status_code == 400
    assert post(it, "agent_resume", bot.pk).status_code == 302
    assert Agent.objects.get().status == "live"
    assert [facts(kind)[0].actor for kind in ("agent.suspended", "agent.resumed")] == ["person:noor@example.com"] * 2


def test_freeze_needs_a_reason_and_ends_by_itself(it: Client, bot: Agent) -> None:
    assert post(it, "agent_freeze", bot.pk, lasting="3600", reason="").status_code == 400
    post(it, "agent_freeze", bot.pk, lasting="3600", reason="Strange calls")
    freeze = Freeze.objects.get()
    assert freeze.ends_at is not None
    assert timedelta(minutes=59) < freeze.ends_at - timezone.now() <= timedelta(hours=1)
    assert "Strange calls" in text_of(page(it, "agent_overview", bot.pk))
    post(it, "agent_unfreeze", bot.pk)
    assert Freeze.objects.get().lifted_by == "person:noor@example.com"


def test_a_transfer_ends_the_keys_unless_told_otherwise(it: Client, bot: Agent) -> None:
    lee = User.objects.create_user("lee@example.com")
    a_key(bot, "gate_ak_abcd")
    assert post(it, "agent_transfer", bot.pk, to="nobody@example.com", ends_keys="on").status_code == 400
    assert post(it, "agent_transfer", bot.pk, to="Lee@example.com", ends_keys="on").status_code == 302
    bot.refresh_from_db()
    assert (bot.owner, bot.credentials.filter(revoked_at=None).count()) == (lee, 0)
    told = details(facts("agent.transferred")[0])
    assert (told["from"], told["to"], told["keys_ended"]) == ("ana@example.com", "lee@example.com", 1)
    a_key(bot, "gate_ak_efgh")
    post(it, "agent_transfer", bot.pk, to="ana@example.com")
    assert bot.credentials.filter(revoked_at=None).count() == 1


def test_a_retired_agent_stays_retired(it: Client, bot: Agent) -> None:
    a_key(bot, "gate_ak_abcd")
    assert post(it, "agent_retire", bot.pk).status_code == 302
    refused = {act: post(it, f"agent_{act}", bot.pk, expiry="90").status_code for act in ACTS}
    assert set(refused.values()) == {400}
    assert bot.credentials.filter(revoked_at=None).count() == 0


# Keys


def test_a_key_is_shown_once_and_nowhere_else(it: Client, bot: Agent, desk: Role, caplog: Any) -> None:
    answer = post(it, "agent_issue_key", bot.pk, expiry="90", endpoint="gatehouse-support", once=new_ticket())
    key, credential = answer.context["issued"].key, bot.credentials.get()
    assert key_digest(key) == bytes(credential.digest)
    assert "no-store" in answer.headers["Cache-Control"]
    shown = text_of(answer)
    assert "claude mcp add --transport http gatehouse-support" in shown
    assert shown.count(key) >= 5
    links = [client.link for client in answer.context["clients"]]
    assert not any(key in link for link in links)
    later = [page(it, name, bot.pk) for name in ("agent_overview", "agent_setup", "agent_issue_key")]
    assert not any(key in text_of(answer) for answer in later)
    assert key not in str(dict(it.session)) + caplog.text + str([bytes(row.header) for row in EventRow.objects.all()])
    assert credential.expires_at is not None
    assert timedelta(days=89) < credential.expires_at - timezone.now() <= timedelta(days=90)


def test_a_key_without_an_end_must_be_chosen(it: Client, bot: Agent) -> None:
    assert post(it, "agent_issue_key", bot.pk, once=new_ticket()).status_code == 400
    assert post(it, "agent_issue_key", bot.pk, expiry="", once=new_ticket()).status_code == 400
    assert post(it, "agent_issue_key", bot.pk, expiry="never", once=new_ticket()).status_code == 200
    assert bot.credentials.get().expires_at is None


def test_a_new_key_ends_no_other_and_offers_to(it: Client, bot: Agent) -> None:
    old = a_key(bot, "gate_ak_abcd")
    answer = post(it, "agent_issue_key", bot.pk, expiry="30", once=new_ticket())
    old.refresh_from_db()
    assert old.revoked_at is None
    assert list(answer.context["older"]) == [old]


def test_an_agent_that_is_not_live_gets_no_key(it: Client, bot: Agent) -> None:
    Agent.objects.update(status="suspended")
    assert post(it, "agent_issue_key", bot.pk, expiry="30", once=new_ticket()).status_code == 400
    Agent.objects.update(status="live")
    User.objects.filter(email="ana@example.com").update(is_active=False)
    assert post(it, "agent_issue_key", bot.pk, expiry="30", once=new_ticket()).status_code == 400
    assert not bot.credentials.exists()


def test_revoked_is_what_the_preview_named(it: Client, bot: Agent) -> None:
    old, new = a_key(bot, "gate_ak_old1"), a_key(bot, "gate_ak_new1")
    stranger = a_key(Agent.objects.create(name="other", owner=bot.owner), "gate_ak_xxxx")
    assert page(it, "agent_revoke_keys", bot.pk).context["chosen"] == [new, old]
    assert page(it, "agent_revoke_keys", bot.pk, key=str(old.pk)).context["chosen"] == [old]
    assert post(it, "agent_revoke_keys", bot.pk).status_code == 400
    assert post(it, "agent_revoke_keys", bot.pk, key="nonsense").status_code == 400
    assert post(it, "agent_revoke_keys", bot.pk, key=[str(old.pk), str(stranger.pk)]).status_code == 302
    live = set(AgentCredential.objects.filter(revoked_at=None))
    assert live == {new, stranger}


def test_the_setup_page_has_a_place_for_the_key(it: Client, bot: Agent, desk: Role) -> None:
    answer = page(it, "agent_setup", bot.pk)
    assert answer.context["endpoint"].name == "gatehouse-support"
    assert "YOUR_AGENT_KEY" in text_of(answer)
    assert 'href="vscode:mcp/install?' in text_of(answer)
    assert 'href="cursor://anysphere.cursor-deeplink/mcp/install?' in text_of(answer)
    assert page(it, "agent_setup", bot.pk, endpoint="gatehouse").context["endpoint"].name == "gatehouse"


# Explain


def test_explain_says_yes_no_and_it_depends(it: Client, bot: Agent, desk: Role) -> None:
    refund = {"agent": "triage-bot", "tool": "helpdesk/billing_refund"}
    assert page(it, "explain", agent="triage-bot", tool="helpdesk/ticket_get").context["headline"][0] == "Yes"
    assert page(it, "explain", **refund).context["headline"][0] == "It depends on the arguments"
    answer = post(it, "explain", **refund, json='{"amount": 101}')
    assert answer.context["headline"][0] == "No"
    assert "Ask a lead" in text_of(answer)
    assert post(it, "explain", **refund, json='{"amount": 100}').context["headline"][0] == "Yes"


def test_explain_makes_a_form_of_a_simple_schema(it: Client, bot: Agent, desk: Role) -> None:
    refund = {"agent": "triage-bot", "tool": "helpdesk/billing_refund"}
    fields = page(it, "explain", **refund).context["fields"]
    assert [(field.id, field.name, field.kind) for field in fields] == [
        ("argument-0", "amount", "number"),
        ("argument-1", "order", "string"),
    ]
    filled = {"argument-0": "500", "argument-1": "O-1"}
    assert post(it, "explain", **refund, **filled).context["headline"][0] == "No"
    assert "is no number" in text_of(post(it, "explain", **refund, **{"argument-0": "many"}))


@pytest.mark.parametrize("arguments", ["[1]", "{", '{"a":1,"a":2}', "[" * 60_000])
def test_explain_survives_bad_json(it: Client, bot: Agent, desk: Role, arguments: str) -> None:
    answer = post(it, "explain", agent="triage-bot", tool="helpdesk/ticket_get", json=arguments)
    assert answer.status_code == 200
    assert "JSON" in answer.context["problem"]


def test_explain_names_what_would_give_it_only_to_those_who_may_know(it: Client, bot: Agent, desk: Role) -> None:
    desk.agents.clear()
    query = {"agent": "triage-bot", "tool": "helpdesk/ticket_get"}
    answer = page(it, "explain", **query)
    assert answer.context["remedies"] == ["Give the agent a role that brings the bundle support: support-agent."]
    Freeze.objects.create(created_by="test")
    desk.agents.add(bot)
    answer = page(it, "explain", **query)
    assert (answer.context["found"].code, len(answer.context["remedies"])) == ("frozen", 1)


def test_explain_knows_why_a_tool_is_not_served(it: Client, bot: Agent, desk: Role) -> None:
    Tool.objects.filter(name="ticket_get").update(quarantined_at=timezone.now(), quarantine_reason="Odd text")
    query = {"agent": "triage-bot", "tool": "helpdesk/ticket_get"}
    assert "in quarantine: Odd text" in text_of(page(it, "explain", **query))
    ToolDefinition.objects.filter(tool__name="billing_refund").update(status="waiting")
    query["tool"] = "helpdesk/billing_refund"
    assert "waits for review" in text_of(page(it, "explain", **query))
    assert "There is no agent" in page(it, "explain", agent="x", tool="y").context["problem"]


def test_explain_knows_resources_and_prompts(it: Client, bot: Agent, desk: Role) -> None:
    version, connector = BundleVersion.objects.get(), Connector.objects.get()
    BundleSelection.objects.create(
        version=version, connector=connector, kind="resource", allow=["file:///handbook/*"], deny=["*/salaries/*"]
    )
    for name, headline in (
        ("resource:file:///handbook/holidays", "Yes"),
        ("resource:file:///handbook/salaries/ana", "No"),
        ("resource:file:///etc/passwd", "No"),
        ("prompt:greet", "No"),
        ("helpdesk/resource:file:///handbook/holidays", "Yes"),
    ):
        assert page(it, "explain", agent="triage-bot", tool=name).context["headline"][0] == headline
    for name in ("resource:file:///handbook/../x", "elsewhere/resource:file:///handbook/holidays"):
        crooked = page(it, "explain", agent="triage-bot", tool=name)
        assert "no name that could be used" in crooked.context["problem"]


def test_explain_reads_another_time(it: Client, bot: Agent, desk: Role) -> None:
    Role.objects.update(ends_at=timezone.now() + timedelta(days=1))
    query = {"agent": "triage-bot", "tool": "helpdesk/ticket_get"}
    assert page(it, "explain", **query).context["headline"][0] == "Yes"
    later = page(it, "explain", **query, at="2199-01-01T10:00")
    assert (later.context["headline"][0], later.context["found"].code) == ("No", "role_not_in_time")
    assert "is no time" in page(it, "explain", **query, at="soon").context["problem"]


@pytest.mark.parametrize("duty", ["approver", ""])
@pytest.mark.parametrize("name", ["explain", "matrix_agents", "matrix_people"])
def test_who_may_not_explain_sees_no_matrix(duty: str, name: str) -> None:
    assert page(sign_in(*duty.split()), name).status_code == 403


# Matrices


def verdicts(answer: Any) -> dict[str, list[str]]:
    return {row.name: [cell.verdict.name for cell in row.cells] for row, _, _ in answer.context["rows"]}


def test_the_matrix_of_agents(it: Client, bot: Agent, desk: Role) -> None:
    Agent.objects.create(name="other-bot", owner=bot.owner)
    answer = page(it, "matrix_agents")
    assert [tool.name for tool, _ in answer.context["columns"]] == ["billing_refund", "ticket_get", HOSTILE]
    assert verdicts(answer) == {"other-bot": ["NO", "NO", "NO"], "triage-bot": ["LIMITED", "YES", "NO"]}
    assert f"{reverse('explain')}?agent=triage-bot&amp;tool=helpdesk%2Fticket_get" in text_of(answer)
    Freeze.objects.create(agent=bot, created_by="test")
    assert verdicts(page(it, "matrix_agents", q="triage"))["triage-bot"] == ["STOPPED", "STOPPED", "NO"]


def test_the_matrix_narrows(it: Client, bot: Agent, desk: Role) -> None:
    Tool.objects.filter(name="ticket_get").update(is_read_only=True, risk="low")
    team = Team.objects.create(name="support")
    assert len(page(it, "matrix_agents", writes="1").context["columns"]) == 2
    assert len(page(it, "matrix_agents", risk="low").context["columns"]) == 1
    assert len(page(it, "matrix_agents", bundle="support").context["columns"]) == 2
    assert page(it, "matrix_agents", bundle="no-such").context["columns"] == []
    assert page(it, "matrix_agents", team=team.pk.hex).context["rows"] == []
    bot.owner.teams.add(team)
    assert len(page(it, "matrix_agents", team=team.pk.hex).context["rows"]) == 1
    assert page(it, "matrix_agents", page="99999999999", part="-3").status_code == 200


def test_the_matrix_of_people(it: Client, bot: Agent, desk: Role) -> None:
    lead = User.objects.create_user("lee@example.com")
    parent = Team.objects.create(name="support")
    lead.teams.add(Team.objects.create(name="support-leads", parent=parent))
    desk.teams.add(parent)
    answer = page(it, "matrix_people")
    found = {row.name: row.cells for row, _, _ in answer.context["rows"]}
    assert [cell.verdict.name for cell in found["lee@example.com"]] == ["LIMITED", "YES", "NO"]
    assert [(cell.verdict.name, cell.through) for cell in found["ana@example.com"]] == [
        ("LIMITED", "triage-bot"),
        ("YES", "triage-bot"),
        ("NO", ""),
    ]
    assert {cell.verdict.name for cell in found["noor@example.com"]} == {"NO"}


def test_who_can_call_a_tool(it: Client, bot: Agent, desk: Role) -> None:
    tool = Tool.objects.get(name="ticket_get")
    answer = page(it, "tool_callers", tool.pk)
    assert [(agent.name, verdict.name) for agent, _, verdict, _ in answer.context["callers"]] == [("triage-bot", "YES")]
    Agent.objects.update(status="suspended")
    assert page(it, "tool_callers", tool.pk).context["able"] == 0


def test_all_that_an_agent_reaches_is_a_page(it: Client, bot: Agent, desk: Role) -> None:
    lines = page(it, "agent_reach", bot.pk, page="7").context["lines"]
    assert [(line.exposed_name, line.verdict.name) for line in lines] == [
        ("billing_refund", "LIMITED"),
        ("ticket_get", "YES"),
    ]


def exported(client: Client, kind: str, name: str = "matrix_agents") -> str:
    answer = post(client, name, format=kind)
    assert "attachment" in answer.headers["Content-Disposition"]
    return b"".join(answer.streaming_content).decode()


def test_an_export_is_recorded_and_harmless(it: Client, bot: Agent, desk: Role) -> None:
    bundle = BundleTool.objects.get()
    BundleTool.objects.filter(pk=bundle.pk).update(allow=["*"])
    Connector.objects.get().tools.filter(name=HOSTILE).update(name="=cmd|'/C calc'!A0\u202e")
    rows = list(csv.DictReader(io.StringIO(exported(it, "csv"))))
    assert [(row["who"], row["verdict"]) for row in rows] == [
        ("triage-bot", "may call it"),
        ("triage-bot", "may call it in some cases"),
        ("triage-bot", "may call it"),
    ]
    assert rows[0]["tool"] == "'=cmd|'/C calc'!A0⟦U+202E⟧"
    assert [row["tool"] for row in json.loads(exported(it, "json", "matrix_people"))][1:] == [
        "billing_refund",
        "ticket_get",
    ]
    told = {details(row)["subject"]: details(row)["format"] for row in facts("access.exported")}
    assert told == {"matrix:agents": "csv", "matrix:people": "json"}
    assert len(facts("access.exported")) == 2


def test_an_empty_export_is_still_json(it: Client) -> None:
    assert json.loads(exported(it, "json")) == []


def test_hostile_names_are_shown_for_what_they_are(it: Client, bot: Agent, desk: Role) -> None:
    BundleTool.objects.update(allow=["*"])
    tool = Tool.objects.get(name=HOSTILE)
    pages = [
        page(it, "agent_overview", bot.pk),
        page(it, "agent_reach", bot.pk),
        page(it, "matrix_agents"),
        page(it, "explain", agent="triage-bot", tool=f"helpdesk/{HOSTILE}"),
        post(it, "explain", agent="triage-bot", tool="helpdesk/wipe⟦U+202E⟧<script>alert(1)</script>"),
        page(it, "tool_callers", tool.pk),
    ]
    assert [answer.context["headline"][0] for answer in pages[3:5]] == ["Yes", "Yes"]
    for answer in pages:
        assert answer.status_code == 200
        assert "\u202e" not in text_of(answer)
        assert "<script>alert" not in text_of(answer)
        assert "wipe⟦U+202E⟧&lt;script&gt;" in text_of(answer)


# The list


def act(client: Client, action: str, *agents: Agent, confirmed: bool = True, **fields: Any) -> Any:
    choice = {"action": action, "_selected_action": [str(agent.pk) for agent in agents], **fields}
    url = reverse("admin:governance_agent_changelist")
    return client.post(url, {**choice, **({"confirmed": "yes"} if confirmed else {})})


def test_the_list_leads_to_the_agents_own_page(it: Client, bot: Agent, desk: Role) -> None:
    a_key(bot, "gate_ak_abcd", expires_at=timezone.now() + timedelta(days=3))
    a_key(bot, "gate_ak_efgh", expires_at=timezone.now() - timedelta(days=3))
    url = reverse("admin:governance_agent_changelist")
    shown = text_of(it.get(url))
    assert reverse("agent_overview", args=[bot.pk]) in shown
    assert [row.key_total for row in it.get(url, {"keys": "soon"}).context["cl"].result_list] == [1]
    assert not it.get(url, {"keys": "none"}).context["cl"].result_list
    assert not it.get(url, {"keys": "forever"}).context["cl"].result_list


def test_bulk_acts_preview_first_and_ask_what_they_must_know(it: Client, bot: Agent) -> None:
    other = Agent.objects.create(name="other-bot", owner=bot.owner)
    lee = User.objects.create_user("lee@example.com")
    a_key(bot, "gate_ak_abcd")
    for action in ("suspend", "freeze", "transfer", "revoke_keys", "retire"):
        assert act(it, action, bot, other, confirmed=False).status_code == 200
    assert act(it, "freeze", bot, other, reason="").status_code == 200
    assert act(it, "transfer", bot, other, to="nobody@example.com").status_code == 200
    assert (Freeze.objects.count(), Agent.objects.filter(status="live", owner=lee).count()) == (0, 0)
    act(it, "freeze", bot, other, reason="Odd", lasting="900")
    act(it, "transfer", bot, other, to="lee@example.com", ends_keys="on")
    act(it, "suspend", bot, other)
    act(it, "resume", other)
    assert Freeze.objects.count() == 2
    assert [(a.owner, a.status) for a in Agent.objects.order_by("name")] == [(lee, "live"), (lee, "suspended")]
    assert len(facts("agent.transferred")) == 2
    assert not AgentCredential.objects.filter(revoked_at=None).exists()


def test_bulk_retiring_wants_a_fresh_sign_in(it: Client, bot: Agent) -> None:
    let_time_pass(it, TOO_LONG)
    assert is_asked_again(act(it, "retire", bot))
    bot.refresh_from_db()
    assert bot.status == "live"
    let_time_pass(it, -TOO_LONG)
    act(it, "retire", bot)
    bot.refresh_from_db()
    assert bot.status == "retired"


# A person's own page


def test_a_person_sees_and_stops_her_own_agents_only(bot: Agent, desk: Role) -> None:
    a_key(bot, "gate_ak_abcd")
    ana, mallory = browser_of(bot.owner), browser_of(person("mallory@example.com"))
    assert "triage-bot" in text_of(page(ana, "me"))
    assert "triage-bot" not in text_of(page(mallory, "me"))
    assert "YOUR_AGENT_KEY" in text_of(page(ana, "my_agent", bot.pk))
    for name in ("my_agent", "suspend_my_agent", "revoke_my_keys"):
        assert page(mallory, name, bot.pk).status_code == 404
    assert {post(mallory, name, bot.pk).status_code for name in ("suspend_my_agent", "revoke_my_keys")} == {404}
    page(ana, "suspend_my_agent", bot.pk)
    assert Agent.objects.get().status == "live"
    post(ana, "suspend_my_agent", bot.pk)
    post(ana, "revoke_my_keys", bot.pk)
    assert Agent.objects.get().status == "suspended"
    assert bot.credentials.get().revoked_by == "person:ana@example.com"


def test_nobody_unknown_sees_a_page_of_her_own() -> None:
    assert page(Client(), "me").status_code == 302
