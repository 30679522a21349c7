"""What explain tells of everything a decision rests on: by command, through the API and on its page."""

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from governance.bundles import publish_bundle
from governance.inspection.digest import pack_digest
from governance.lifecycle import stage
from governance.models import (
    Agent,
    Bundle,
    BundleTool,
    BundleVersion,
    Connector,
    DetectionOff,
    Freeze,
    Grant,
    Organization,
    PatternException,
    Policy,
    Reaction,
    Role,
    Rule,
    Team,
    Tool,
    User,
)
from governance.policies import publish_policy
from tests.gateway.calling import Api, owner, problem
from tests.gateway.signing_in import sign_in
from tests.gateway.test_access import bot, desk, page, post, text_of

__all__ = ("bot", "desk", "owner")

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]

TOLD: dict[str, Any] = {"by": "test", "record": [].append}
REFUND = "helpdesk/billing_refund"
MONDAY = "2031-03-03T12:00:00+00:00"


SMALL = {"amount": 5}


def explained(tool: str = REFUND, *options: str, args: Any = SMALL, at: str = MONDAY) -> Any:
    out = io.StringIO()
    words = ("explain", "--agent", "triage-bot", "--tool", tool, "--args", json.dumps(args), "--at", at)
    call_command(*words, *options, "--json", stdout=out)
    return json.loads(out.getvalue())


def told(args: Any) -> str:
    out = io.StringIO()
    words = ("explain", "--agent", "triage-bot", "--tool", REFUND, "--args", json.dumps(args), "--at", MONDAY)
    call_command(*words, stdout=out)
    return out.getvalue()


def bind(name: str, *rules: Rule, to: str = "organization") -> Policy:
    """A policy in force that binds every call, or those of a team's people."""
    policy = Policy.objects.create(name=name)
    publish_policy(policy, rules=list(rules), **TOLD)
    row: Any = Organization.objects.get_or_create()[0] if to == "organization" else Team.objects.get(name=to)
    row.policies.add(policy)
    return policy


def asking(**fields: Any) -> Rule:
    known: dict[str, Any] = {"effect": "ask", "tools": ["billing_*"], "reason": "A lead has to agree"}
    return Rule(**(known | fields))


def outcomes(path: Any) -> dict[str, tuple[str, str]]:
    return {rule["policy"]: (rule["outcome"], rule["why"]) for rule in path["considered"] + path["passed_over"]}


def test_by_what_content_is_looked_at(bot: Agent, desk: Role) -> None:
    bind("no-keys", Rule(effect="deny", on="arguments", findings=["secret"], reason="Keys stay here."))
    DetectionOff.objects.create(rule="jwt", reason="Noise.", set_by="test", set_at=datetime.now(UTC))
    for name, at in (("samples", "helpdesk"), ("elsewhere", "other")):
        PatternException.objects.create(
            name=name, rule="email", path="/*", connector=Connector.objects.get_or_create(name=at)[0], reason="Ours.",
            created_at=datetime.now(UTC), ends_at=datetime(2032, 1, 1, tzinfo=UTC),
        )  # fmt: skip
    found = explained()
    assert found["detection"] == {"pack": pack_digest(), "off": ["jwt"], "exceptions": ["samples"]}
    assert f"the pack {pack_digest()} of detection rules. jwt is switched off. samples is excepted" in told(SMALL)


# Roles and data scopes


def test_a_role_in_its_time_and_each_data_scope(bot: Agent, desk: Role) -> None:
    desk.scopes = [
        {"tools": ["billing_*"], "when": "args.amount < 50.0", "text": "amounts below 50"},
        {"tools": ["billing_*"], "when": 'args.order.startsWith("A")', "text": "orders A"},
    ]
    desk.schedule = {"days": ["mon"], "from": "08:00", "to": "19:00"}
    desk.save()
    (path,) = explained(args={"amount": 20, "order": "B1"})["paths"]
    (given,) = path["given_by"]
    assert (given["role"], given["whose"], given["in_time"], given["times"]) == (
        "support-agent", "agent", True, "mon 08:00–19:00",
    )  # fmt: skip
    assert [(scope["text"], scope["outcome"]) for scope in given["scopes"]] == [
        ("amounts below 50", "holds"), ("orders A", "does_not_hold"),
    ]  # fmt: skip
    assert path["code"] == "outside_scope"
    _, missing = explained(args={"amount": 20})["paths"][0]["given_by"][0]["scopes"]
    assert (missing["outcome"], missing["why"]) == ("undecided", "args.order is not known")
    at_night = explained(at="2031-03-03T23:00:00+00:00")
    assert (at_night["code"], at_night["paths"][0]["given_by"][0]["in_time"]) == ("role_not_in_time", False)


def test_the_clock_that_ends_it_is_told(bot: Agent, desk: Role) -> None:
    desk.schedule = {"days": ["mon"], "from": "08:00", "to": "19:00"}
    desk.save()
    found = explained(args={"amount": 20})
    assert datetime.fromisoformat(found["valid_until"]) == datetime(2031, 3, 3, 19, tzinfo=UTC)
    assert "until 2031-03-03 19:00 UTC" in found["words"][-1]


# Rules


def test_rules_that_do_not_match_say_why(bot: Agent, desk: Role) -> None:
    bind("dates", asking(condition='args.date > "2031"'))
    bind("elsewhere", asking(tools=["*"], connectors=["files"]))
    bind("health", asking(tools=["*"], data_classes=["health"]))
    bind("high", asking(tools=["*"], risks=["high"]))
    bind("reads", asking(tools=["*"], access="read"))
    bind("tickets", asking(tools=["ticket_*"]))
    found = explained()
    (path,) = found["paths"]
    assert outcomes(path) == {
        "big-refunds": ("false", ""),
        "dates": ("undecided", "args.date is not known"),
        "elsewhere": ("not_selected", "it names other connectors: files"),
        "health": ("not_selected", "it is for data of the class health"),
        "high": ("not_selected", "it is for high risk, and this is medium"),
        "reads": ("not_selected", "it is for tools that read"),
        "tickets": ("not_selected", "it names other tools: ticket_*"),
    }
    assert path["passed_over_count"] == 5
    assert path["passed_over"][-1]["policy"] == "tickets", "the nearest come first"
    assert found["decision"] == "ask"


def test_where_each_rule_comes_from(bot: Agent, desk: Role) -> None:
    bot.owner.teams.add(Team.objects.create(name="support"))
    bind("for-all", asking(condition="args.amount > 1"))
    bind("for-team", asking(condition="args.amount > 1"), to="support")
    parent = Bundle.objects.create(name="base")
    inherited = Policy.objects.create(name="inherited")
    publish_policy(inherited, rules=[asking(condition="args.amount > 1")], **TOLD)
    publish_bundle(parent, tools=[], parents=[], policies=[inherited], names="", recording="full", **TOLD)
    child, of = Bundle.objects.get(name="support"), Connector.objects.get()
    tools = [BundleTool(connector=of, allow=["billing_*"])]
    publish_bundle(child, tools=tools, parents=[parent], policies=[], names="", recording="full", **TOLD)
    (path,) = explained()["paths"]
    assert [(rule["policy"], rule["from"]) for rule in path["considered"]] == [
        ("for-all", "organization"), ("for-team", "team support"), ("inherited", "bundle base v1"),
    ]  # fmt: skip


def test_a_staged_version_counts_for_its_agents_only(bot: Agent, desk: Role) -> None:
    bundle, of = Bundle.objects.get(name="support"), Connector.objects.get()
    draft = BundleVersion.objects.create(
        bundle=bundle, number=2, state="draft", based_on=1, created_by="test", recording="full"
    )
    BundleTool.objects.create(version=draft, connector=of, allow=["ticket_*"])
    assert explained()["decision"] == "permit"
    stage(draft, [bot], seen=0, **TOLD)
    assert (explained()["code"], explained("helpdesk/ticket_get")["paths"][0]["staged"]) == (
        "tool_unknown", True,
    )  # fmt: skip
    assert "support v2, which is staged to this agent" in " ".join(explained("helpdesk/ticket_get")["words"])


def test_masks_that_would_apply(bot: Agent, desk: Role) -> None:
    bind("privacy", Rule(effect="mask", on="result", tools=["billing_*"], fields=["*.iban"]))
    found = explained()
    assert found["paths"][0]["masks"] == [{"rule": "privacy v1#1", "fields": ["*.iban"]}]
    assert "Masked in the result: *.iban." in found["words"]


# Who the call is for, where it comes from, what the run has met


def test_on_behalf_of_a_person_both_must_have_it(bot: Agent, desk: Role) -> None:
    lee = User.objects.create_user("lee@example.com")
    alone = explained(REFUND, "--on-behalf-of", "lee@example.com")
    assert (alone["decision"], alone["on_behalf_of"]) == ("deny", "lee@example.com")
    assert "triage-bot and lee@example.com, for whom it acts, do not both have it" in alone["reason"]
    assert alone["remedies"][0]["text"].startswith("Give lee@example.com a role that brings the bundle support")
    desk.people.add(lee)
    both = explained(REFUND, "--on-behalf-of", "Lee@example.com")["paths"][0]
    assert [(given["role"], given["whose"]) for given in both["given_by"]] == [
        ("support-agent", "agent"), ("support-agent", "person"),
    ]  # fmt: skip
    with pytest.raises(CommandError, match="There is nobody with the address"):
        explained(REFUND, "--on-behalf-of", "ghost@example.com")


def test_labels_of_the_run(bot: Agent, desk: Role) -> None:
    bind("strangers", asking(condition='"untrusted" in session.labels'))
    fresh = explained()
    assert (fresh["decision"], fresh["paths"][0]["reads_labels"]) == ("permit", True)
    assert any("a fresh run, which has met nothing" in sentence for sentence in fresh["words"])
    met = explained(REFUND, "--label", "untrusted", "--label", "finance")
    assert (met["decision"], met["labels"]) == ("ask", ["finance", "untrusted"])


def test_a_reaction_holds_only_a_run_that_is_held(bot: Agent, desk: Role) -> None:
    Reaction.objects.create(name="leaked", trigger="finding", findings=["secret"], action="hold_run")
    assert explained()["decision"] == "permit"
    held = explained(REFUND, "--label", "held")
    assert [ask["rule"] for ask in held["paths"][0]["asks"]] == ["reaction leaked"]


def test_the_address_it_comes_from(bot: Agent, desk: Role) -> None:
    bind("office-only", asking(effect="deny", condition='!("office" in network.names)'))
    Organization.objects.update(networks={"office": ["192.0.2.0/24"]})
    assert outcomes(explained()["paths"][0])["office-only"] == ("undecided", "network.names is not known")
    assert explained(REFUND, "--from", "192.0.2.7")["decision"] == "permit"
    assert explained(REFUND, "--from", "198.51.100.7")["decision"] == "deny"
    with pytest.raises(CommandError, match="'home' is no IP address"):
        explained(REFUND, "--from", "home")


# Humans and grants


def test_who_would_be_asked_by_name(bot: Agent, desk: Role) -> None:
    leads = Team.objects.create(name="leads")
    for name in ("lee", "kim"):
        User.objects.create_user(f"{name}@example.com").teams.add(leads)
    bot.owner.teams.add(leads)
    bind("two-leads", asking(approvers={"team": "leads", "count": 2, "pending": "30m"}))
    found = explained()
    (ask,) = found["paths"][0]["asks"]
    assert (ask["needed"], ask["approvers"], ask["pending_seconds"]) == (
        2, ["kim@example.com", "lee@example.com"], 1800,
    )  # fmt: skip
    assert any("2 humans must agree" in sentence for sentence in found["words"])
    User.objects.filter(email__in=("lee@example.com", "kim@example.com")).update(is_active=False)
    assert any(sentence.startswith("Nobody could agree") for sentence in explained()["words"])


def a_grant(bot: Agent, **fields: Any) -> Grant:
    known: dict[str, Any] = {
        "kind": "elevation",
        "agent": bot,
        "bundle": Bundle.objects.get(name="support"),
        "starts_at": datetime(2031, 3, 1, tzinfo=UTC),
        "ends_at": datetime(2031, 3, 4, tzinfo=UTC),
        "created_by": "test",
    }
    return Grant.objects.create(**(known | fields))


def test_the_grants_it_rests_on(bot: Agent, desk: Role) -> None:
    lee = User.objects.create_user("lee@example.com")
    desk.agents.clear()
    grant = a_grant(bot, tool=Tool.objects.get(name="billing_refund"), approvers=[lee.pk.hex])
    found = explained()
    (rested,) = found["paths"][0]["grants"]
    assert (rested["id"], rested["kind"], rested["agreed"]) == (grant.pk.hex, "elevation", ["lee@example.com"])
    assert found["paths"][0]["given_by"][0]["grant"] == grant.pk.hex
    assert any("access for a time until 2031-03-04 00:00 UTC" in sentence for sentence in found["words"])
    assert explained("helpdesk/ticket_get")["decision"] == "deny", "of one tool only"


def test_a_consent_that_answers_a_rule(bot: Agent, desk: Role) -> None:
    bind("leads", asking())
    tool = Tool.objects.get(name="billing_refund")
    defined = tool.definitions.get(status="pinned").digest
    about = {"bundle": None, "tool": tool, "rules": ["leads v1#1"], "definition_digest": defined}
    a_grant(bot, kind="consent", condition="args.amount < 50.0", **about)
    assert explained(args={"amount": 60})["decision"] == "ask"
    found = explained(args={"amount": 20})
    assert (found["decision"], found["code"]) == ("permit", "approved")
    assert found["reason"] == "a rule asks for a human, and a grant answers it"


def test_freezes_are_named(bot: Agent, desk: Role) -> None:
    until = datetime(2031, 3, 4, tzinfo=UTC)
    Freeze.objects.create(agent=bot, reason="Odd refunds", ends_at=until, created_by="test")
    (path,) = explained()["paths"]
    assert path["freezes"] == [{"of": "the agent", "reason": "Odd refunds", "ends_at": until.isoformat()}]


# The three doors


MEMBERS = {"agent", "tool", "at", "epoch", "decision", "code", "reason", "paths", "remedies"}
PATH_MEMBERS = {"bundle", "connector", "roles", "effect", "code", "rules", "considered"}
RULE_MEMBERS = {"policy", "version", "rule", "effect", "from", "when", "reason", "outcome"}


def test_members_that_scripts_read_stay(bot: Agent, desk: Role) -> None:
    found = explained()
    assert found.keys() >= MEMBERS
    assert found["paths"][0].keys() >= PATH_MEMBERS
    assert found["paths"][0]["considered"][0].keys() >= RULE_MEMBERS


def test_the_command_tells_it_in_words_first(bot: Agent, desk: Role) -> None:
    bind("tickets", asking(tools=["ticket_*"]))
    desk.scopes = [{"tools": ["billing_*"], "when": "args.amount < 500.0", "text": "amounts below 500"}]
    desk.save()
    lines = told({"amount": 200}).splitlines()
    assert lines[0] == "deny: Ask a lead"
    assert lines[2] == "triage-bot may not call helpdesk/billing_refund. Ask a lead."
    assert "The role support-agent is limited to “amounts below 500”: the call lies within it." in lines
    assert "      only args.amount < 500.0: the call lies within it" in lines
    assert any("is not for this tool: it names other tools: ticket_*" in line for line in lines)


def test_the_api_takes_all_of_it(owner: Api, bot: Agent, desk: Role) -> None:
    bind("strangers", asking(condition='"untrusted" in session.labels'))
    desk.people.add(User.objects.create_user("lee@example.com"))
    asked = {
        "agent": "triage-bot", "tool": REFUND, "arguments": {"amount": 5}, "at": "2031-03-03T12:00:00Z",
        "on_behalf_of": "lee@example.com", "labels": ["untrusted"], "source_ip": "192.0.2.7",
    }  # fmt: skip
    found = owner.post("explain", asked).json()
    assert (found["decision"], found["on_behalf_of"], found["labels"], found["source_ip"]) == (
        "ask", "lee@example.com", ["untrusted"], "192.0.2.7",
    )  # fmt: skip
    assert found["words"][0].startswith("triage-bot, acting for lee@example.com, may call")
    without = owner.post("explain", {"agent": "triage-bot", "tool": REFUND}).json()
    assert (without["decision"], without["depends_on_arguments"]) == ("permit", True)
    for wrong in ({"on_behalf_of": "ghost@example.com"}, {"source_ip": "home"}):
        assert problem(owner.post("explain", {**asked, **wrong}), 422, "refused")["errors"]
    problem(owner.post("explain", {**asked, "labels": "untrusted"}), 400, "invalid_input")


def test_the_page_takes_all_of_it_and_keeps_it(bot: Agent, desk: Role) -> None:
    it: Client = sign_in("it-admin")
    bind("strangers", asking(condition='"untrusted" in session.labels', approvers={"people": ["lee@example.com"]}))
    desk.people.add(User.objects.create_user("lee@example.com"), User.objects.create_user("kim@example.com"))
    around = {"person": "kim@example.com", "labels": "untrusted, finance", "source": "192.0.2.7"}
    answer = post(it, "explain", agent="triage-bot", tool=REFUND, json='{"amount": 5}', **around)
    assert answer.context["headline"][0] == "Only with a human's yes"
    shown = text_of(answer)
    assert "Who would be asked" in shown
    assert "strangers v1#1: 1 needed, 1 could: lee@example.com" in " ".join(shown.split())
    assert '<input type="hidden" name="labels" value="untrusted, finance">' in shown
    for wrong, message in (({"person": "ghost@x.org"}, "There is nobody"), ({"source": "home"}, "is no IP address")):
        assert message in page(it, "explain", agent="triage-bot", tool=REFUND, **wrong).context["problem"]


def test_a_data_scope_makes_it_depend_on_the_arguments(bot: Agent, desk: Role) -> None:
    desk.scopes = [{"tools": ["ticket_*"], "when": 'args.id == "T-1"', "text": "only T-1"}]
    desk.save()
    query = {"agent": "triage-bot", "tool": "helpdesk/ticket_get"}
    it = sign_in("it-admin")
    assert page(it, "explain", **query).context["headline"][0] == "It depends on the arguments"
    assert post(it, "explain", **query, json='{"id": "T-1"}').context["headline"][0] == "Yes"
    assert post(it, "explain", **query, json='{"id": "T-2"}').context["headline"][0] == "No"


# At a time


def test_what_is_reached_at_a_time(owner: Api, bot: Agent, desk: Role) -> None:
    desk.schedule = {"days": ["mon"], "from": "08:00", "to": "19:00"}
    desk.save()
    tool = Tool.objects.get(name="ticket_get")

    def verdicts(at: str) -> list[tuple[str, str]]:
        (row,) = owner.get(f"reach/agents{at}").json()["results"]
        (caller,) = owner.get(f"tools/{tool.pk}/callers{at}").json()["results"]
        line = owner.get(f"agents/{bot.pk}/reach{at}").json()["results"][1]
        found = [cell for cell in row["cells"] if cell["tool"] == "helpdesk/ticket_get"]
        return [(each["verdict"], each["reason"]) for each in (*found, caller, line)]

    assert verdicts("") == [("at_times", "mon 08:00–19:00")] * 3
    assert {verdict for verdict, _ in verdicts("?at=2031-03-03T12:00:00Z")} == {"yes"}
    assert verdicts("?at=2031-03-03T23:00:00Z") == [("stopped", "not at this hour")] * 3


def test_matrices_tell_scopes_grants_and_people(owner: Api, bot: Agent, desk: Role) -> None:
    desk.scopes = [{"tools": ["ticket_*"], "when": 'args.id == "T-1"', "text": "only T-1"}]
    desk.save()
    lee, max_ = (User.objects.create_user(f"{name}@example.com") for name in ("lee", "max"))
    desk.people.add(lee)
    for number, person in enumerate((lee, max_)):
        bot.credentials.create(digest=bytes([number]) * 32, hint="gate_ak_", created_by="test", person=person)
    (row,) = owner.get("reach/agents").json()["results"]
    ticket = row["cells"][1]
    assert (ticket["verdict"], ticket["scopes"]) == ("limited", ["only T-1"])
    assert ticket["on_behalf_of"] == [
        {"email": "lee@example.com", "holds": True}, {"email": "max@example.com", "holds": False},
    ]  # fmt: skip
    now = datetime.now(UTC)
    a_grant(bot, starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=1))
    ticket = owner.get("reach/agents").json()["results"][0]["cells"][1]
    assert [grant["kind"] for grant in ticket["grants"]] == ["elevation"]
    assert ticket["scopes"] == [], "the grant has none"


def test_the_file_of_a_matrix_has_the_same_columns(bot: Agent, desk: Role) -> None:
    desk.scopes = [{"tools": ["ticket_*"], "when": 'args.id == "T-1"', "text": "only T-1"}]
    desk.save()
    it = sign_in("it-admin")
    answer = post(it, "matrix_agents", format="json", at="2031-03-03T12:00")
    refund, ticket = json.loads(b"".join(answer.streaming_content))
    assert (ticket["scopes"], refund["reason"]) == ("only T-1", "deny by big-refunds v1#1 when args.amount > 100")
    assert {"verdict", "reason", "scopes", "grants", "on behalf of"} <= ticket.keys()
    taken: Any = it.post(f"/admin/agents/{bot.pk}/reach/")
    assert b"reason,scopes,grants,on behalf of" in b"".join(taken.streaming_content)
