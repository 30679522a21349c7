"""Who reaches what, through the API: line by line with reasons, as matrices, and by tool."""

import csv
import io

import orjson
import pytest

from audit.models import EventRow
from governance.models import Agent, BundleSelection, BundleVersion, Connector, Role, Team, Tool, User
from tests.gateway.calling import Api, it_admin, owner, person, problem
from tests.gateway.test_access import bot, desk

__all__ = ("bot", "desk", "owner")

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]


def test_what_an_agent_reaches_and_why(owner: Api, bot: Agent, desk: Role) -> None:
    refund, ticket = owner.get(f"agents/{bot.pk}/reach").json()["results"]

    assert (refund["tool"], refund["bundle"], refund["verdict"]) == ("helpdesk/billing_refund", "support", "limited")
    assert refund["roles"] == [{"role": "support-agent", "times": refund["roles"][0]["times"]}]
    assert [(rule["policy"], rule["when"], rule["effect"]) for rule in refund["rules"]] == [
        ("big-refunds", "args.amount > 100", "deny")
    ]
    assert (ticket["tool"], ticket["verdict"], ticket["stopped_now"]) == ("helpdesk/ticket_get", "yes", "")


def test_resources_and_prompts_stand_there_as_patterns(owner: Api, bot: Agent, desk: Role) -> None:
    of = {"version": BundleVersion.objects.get(), "connector": Connector.objects.get(), "kind": "resource"}
    BundleSelection.objects.create(**of, allow=["file:///handbook/*"], deny=["*/salaries/*"])
    line = owner.get(f"agents/{bot.pk}/reach").json()["results"][1]
    assert line["tool"] == "helpdesk/resource:file:///handbook/* without */salaries/*"
    assert (line["tool_id"], line["verdict"], line["read_only"]) == (None, "yes", True)
    Connector.objects.update(is_enabled=False)
    assert owner.get(f"agents/{bot.pk}/reach").json()["results"][1]["verdict"] == "stopped"


def test_why_a_pattern_is_stopped_is_told_though_its_text_matches_none(owner: Api, bot: Agent, desk: Role) -> None:
    of = {"version": BundleVersion.objects.get(), "connector": Connector.objects.get(), "kind": "resource"}
    BundleSelection.objects.create(**of, allow=["file:///*.md"], deny=["*salaries*"])
    assert owner.get(f"agents/{bot.pk}/reach").json()["results"][1]["stopped_now"] == ""
    Connector.objects.update(is_enabled=False)
    assert owner.get(f"agents/{bot.pk}/reach").json()["results"][1]["stopped_now"] == "the system is switched off"


def test_a_stop_is_told(owner: Api, bot: Agent, desk: Role) -> None:
    owner.post("freezes", {"agent": bot.name})

    line, *_ = owner.get(f"agents/{bot.pk}/reach").json()["results"]

    assert (line["verdict"], line["stopped_now"]) == ("stopped", "frozen")


def test_pages_go_on_where_the_last_ended(owner: Api, bot: Agent, desk: Role) -> None:
    first = owner.get(f"agents/{bot.pk}/reach?limit=1").json()
    second = owner.get(first["next"].partition("/api/v1/")[2]).json()

    assert [line["tool"] for line in first["results"] + second["results"]] == [
        "helpdesk/billing_refund", "helpdesk/ticket_get",
    ]  # fmt: skip
    assert second["next"] is None
    for cursor in ("nonsense", "WzFd"):
        problem(owner.get(f"agents/{bot.pk}/reach?cursor={cursor}"), 400, "invalid_parameter")


def test_agents_by_tools(owner: Api, bot: Agent, desk: Role) -> None:
    Agent.objects.create(name="night-bot", owner=bot.owner)

    night, triage = owner.get("reach/agents").json()["results"]

    assert (night["name"], night["cells"]) == ("night-bot", [])
    assert [(cell["tool"], cell["verdict"]) for cell in triage["cells"]] == [
        ("helpdesk/billing_refund", "limited"), ("helpdesk/ticket_get", "yes"),
    ]  # fmt: skip
    assert owner.get("reach/agents?connector=elsewhere").json()["results"][1]["cells"] == []
    assert len(owner.get("reach/agents?q=night").json()["results"]) == 1
    first = owner.get("reach/agents?limit=1").json()
    assert owner.get(first["next"].partition("/api/v1/")[2]).json()["results"] == [triage]


def test_people_by_tools_and_through_which_agent(owner: Api, bot: Agent, desk: Role) -> None:
    team = Team.objects.create(name="support")
    bot.owner.teams.add(team)

    (ana,) = owner.get("reach/people?team=support").json()["results"]

    assert ana["name"] == "ana@example.com"
    assert [(cell["tool"], cell["through"]) for cell in ana["cells"]] == [
        ("helpdesk/billing_refund", "triage-bot"), ("helpdesk/ticket_get", "triage-bot"),
    ]  # fmt: skip
    assert owner.get("reach/people?team=nobodies").json()["results"] == []
    problem(owner.get("reach/people?tool=x"), 400, "invalid_parameter")


def test_a_whole_matrix_is_a_file_and_on_record(owner: Api, bot: Agent, desk: Role) -> None:
    User.objects.create_user("quiet@example.com")

    answer = owner.get("reach/agents?connector=helpdesk", Accept="text/csv")

    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert answer["Content-Type"].startswith("text/csv")
    assert [(row["who"], row["tool"]) for row in rows] == [
        ("triage-bot", "billing_refund"), ("triage-bot", "ticket_get"),
    ]  # fmt: skip
    event = EventRow.objects.get(kind="access.exported")
    details = orjson.loads(bytes(event.header))["details"]
    assert (event.actor, details["connector"], details["token"]) == (
        "person:owner@example.com", "helpdesk", owner.row.hint,
    )  # fmt: skip
    problem(owner.get("reach/agents?connector=", Accept="application/xml"), 406, "not_acceptable")
    assert problem(owner.get("reach/agents?no=1", Accept="text/csv"), 400, "invalid_parameter")["errors"]


def test_who_can_call_a_tool(owner: Api, bot: Agent, desk: Role) -> None:
    tool = Tool.objects.get(name="ticket_get")

    (caller,) = owner.get(f"tools/{tool.pk}/callers").json()["results"]

    assert caller == {
        "agent": "triage-bot", "id": str(bot.pk), "owner": "ana@example.com", "verdict": "yes",
        "reason": "", "scopes": [], "grants": [], "on_behalf_of": [],
    }  # fmt: skip


def test_it_is_for_those_who_may_explain(bot: Agent, desk: Role) -> None:
    lee = Api(person("lee@example.com", "approver"))

    for path in (f"agents/{bot.pk}/reach", "reach/agents", "reach/people"):
        problem(lee.get(path), 403, "permission_denied")
    assert it_admin().get("reach/agents").status_code == 200
