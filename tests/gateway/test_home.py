"""The home page: who is shown what, and that the numbers are those of the evidence."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from asgiref.testing import ApplicationCommunicator
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from audit.event import AuditEvent, uuid7
from audit.models import CallTally, Pending
from audit.record import record
from gateway.console.access.recent import last_day
from gateway.console.connecting.health import health_of
from gateway.console.home import live
from gateway.console.home.attention import MOST_COUNTED, needs_of
from gateway.console.home.charts import HEIGHT, TOP_MARGIN, calls_by_decision, round_up
from gateway.console.home.first_steps import Step, first_steps
from gateway.console.home.numbers import Hour, first_hour, numbers, top_agents, top_tools
from gateway.models import GatewayProcess
from governance.models import Agent, AgentCredential, Connector, Offboarding, Secret, Tool, ToolDefinition, User

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]

NOW = datetime.now(UTC)
THIS_HOUR = NOW.replace(minute=0, second=0, microsecond=0)


def a_person(*duties: str, owner: bool = False, email: str = "noor@example.com") -> User:
    return User.objects.create_user(email, is_staff=True, is_superuser=owner, duties=list(duties))


def home_of(person: User) -> str:
    client = Client()
    client.force_login(person)
    answer = client.get(reverse("admin:index"))
    assert answer.status_code == 200
    return str(answer.content.decode())


def tally(calls: int, *, hours_ago: int = 0, **fields: Any) -> CallTally:
    known = {
        "agent": "triage-bot",
        "connector": "helpdesk",
        "tool": "ticket_get",
        "decision": "permit",
        "outcome": "ok",
    }
    return CallTally.objects.create(hour=THIS_HOUR - timedelta(hours=hours_ago), calls=calls, **(known | fields))


def titles(person: User) -> list[str]:
    return [need.title for need in needs_of(person, datetime.now(UTC))]


# Numbers


def test_numbers_are_of_the_past_24_hours() -> None:
    tally(5, upstream_ms=100), tally(3, hours_ago=23, upstream_ms=60), tally(7, hours_ago=24)
    tally(2, decision="deny", outcome="refused", tool="")
    tally(1, outcome="unknown")
    seen = numbers(NOW)
    assert (seen.calls, seen.denied, seen.failed, seen.mean_ms) == (11, 2, 1, 20)
    assert (seen.hours[-1].permitted, seen.hours[-1].denied, seen.hours[0].permitted) == (6, 2, 3)
    assert len(seen.hours) == 24
    assert seen.hours[0].start == first_hour(NOW)


def test_denied_means_the_same_on_every_page() -> None:
    bot = Agent.objects.create(name="triage-bot", owner=User.objects.create_user("ana@example.com"))
    connector = Connector.objects.create(name="helpdesk", last_seen_at=NOW)
    tally(2, decision="deny", outcome="refused"), tally(1, decision="ask", outcome="refused")
    tally(4, outcome="withheld"), tally(8)
    assert numbers(NOW).denied == last_day("triage-bot", now=NOW).denied == 2
    assert health_of(["helpdesk"], now=NOW)["helpdesk"].denied == 2
    client = Client()
    client.force_login(a_person(owner=True))
    for page in (reverse("agent_overview", args=[bot.pk]), reverse("connector_overview", args=[connector.pk])):
        assert re.search(r"\b2(</b>)? denied", client.get(page).content.decode())


def test_the_key_of_the_chart_has_its_patterns_also_without_a_call() -> None:
    text = home_of(a_person(owner=True))
    assert "No agent has called a tool" in text
    for name in re.findall(r"url\(#(gh-\w+)\)", text):
        assert f'<pattern id="{name}"' in text


def test_tools_and_agents_in_order() -> None:
    tally(2, tool="slow", upstream_ms=2000, slowest_ms=1500), tally(100, tool="fast", upstream_ms=100)
    tally(9, tool="fast", agent="night-bot", decision="deny", outcome="refused")
    slowest, denied = top_tools(NOW)
    assert [(tool.tool, tool.mean_ms) for tool in slowest] == [("slow", 1000), ("fast", 1)]
    assert [(tool.tool, tool.denied, tool.calls) for tool in denied] == [("fast", 9, 109)]
    assert [(agent.agent, agent.calls, agent.denied) for agent in top_agents(NOW)] == [
        ("triage-bot", 102, 0),
        ("night-bot", 9, 9),
    ]


@given(st.lists(st.tuples(*[st.integers(0, 10**9)] * 3), min_size=1, max_size=30))
def test_bars_stay_inside_the_chart(counts: list[tuple[int, int, int]]) -> None:
    chart = calls_by_decision([Hour(THIS_HOUR, *count) for count in counts])
    for bar in chart.bars:
        assert bar.x >= 0
        assert bar.x + bar.width <= 100.001
        assert all(part.y >= TOP_MARGIN - 3 and part.y + part.height <= TOP_MARGIN + HEIGHT for part in bar.segments)


@given(st.integers(0, 10**12))
def test_the_chart_is_as_high_as_its_highest_bar_and_not_much_higher(most: int) -> None:
    assert most <= round_up(most) <= max(2, most * 2.5)


# Who sees what


def test_each_duty_has_its_own_home() -> None:
    tally(3)
    assert "Calls by decision" in home_of(a_person(owner=True, email="owner@example.com"))
    assert "Calls by decision" in home_of(a_person("auditor", email="au@example.com"))
    approver = home_of(a_person("approver", email="lee@example.com"))
    assert "Needs you now" in approver
    assert "Calls by decision" not in approver
    nobody = home_of(a_person(email="mallory@example.com"))
    assert "You have no duties here yet" in nobody
    assert "data-part" not in nobody


def test_needs_are_told_to_those_who_can_meet_them() -> None:
    Connector.objects.create(name="crm", urls=["https://crm.example.com"], last_error="refused")
    assert titles(a_person("it-admin")) == ["Connectors failing"]
    assert titles(a_person("security", email="sam@example.com")) == []


def test_a_changed_tool_is_told_apart_from_a_new_one() -> None:
    connector = Connector.objects.create(name="helpdesk")
    for name, pinned in (("changed", True), ("new", False)):
        tool = Tool.objects.create(connector=connector, name=name)
        ToolDefinition.objects.create(tool=tool, digest=f"{name}-2", body=b"{}")
        if pinned:
            ToolDefinition.objects.create(tool=tool, digest=f"{name}-1", body=b"{}", status="pinned")
    (need,) = needs_of(a_person("security"), NOW)
    assert need.sentence.startswith("2 tool definitions wait for a decision. 1 of them changes a tool")


def test_keys_that_end_soon_are_told() -> None:
    agent = Agent.objects.create(name="triage-bot", owner=a_person(email="ana@example.com"))
    for number, days in enumerate((3, 60)):
        AgentCredential.objects.create(agent=agent, digest=bytes([number]) * 32, expires_at=NOW + timedelta(days=days))
    (need,) = needs_of(a_person("it-admin"), NOW)
    assert need.sentence == "1 key ends within 14 days, the first of triage-bot."


def test_agents_without_an_owner_lead_to_a_list_of_just_them() -> None:
    gone = User.objects.create_user("gone@example.com", is_active=False)
    it = a_person("it-admin")
    for name, owner, status in (("orphan", gone, "live"), ("past", gone, "retired"), ("fine", it, "live")):
        Agent.objects.create(name=name, owner=owner, status=status)
    (need,) = needs_of(it, NOW)
    client = Client()
    client.force_login(it)
    rows = client.get(need.link).context["cl"].queryset
    assert [agent.name for agent in rows] == ["orphan"]


def test_many_of_a_kind_are_counted_only_so_far() -> None:
    connectors = [Connector(name=f"c-{n}", last_error="down") for n in range(MOST_COUNTED + 20)]
    Connector.objects.bulk_create(connectors)
    (need,) = needs_of(a_person("it-admin"), NOW)
    assert need.sentence.startswith("99+ connectors fail: c-0, c-1, c-10 …")


def test_trouble_is_told_and_the_worst_comes_first() -> None:
    Pending.objects.create(event_id=uuid7(int((NOW - timedelta(minutes=5)).timestamp() * 1000)))
    person = a_person(owner=True)
    long_ago = NOW - timedelta(minutes=5)
    GatewayProcess.objects.create(host="gw-1", pid=1, started_at=long_ago, beat_at=long_ago)
    Connector.objects.create(name="crm", secret=Secret.objects.create(name="crm-token"))
    record(AuditEvent("call.outcome", NOW, "system:recovery", call_id=uuid7(), tool="refund", outcome="unknown"))
    Agent.objects.create(name="orphan", owner=User.objects.create_user("gone@example.com", is_active=False))
    assert titles(person) == [
        "Evidence is not sealed",
        "Gateways lost",
        "Secrets missing",
        "Agents without an owner",
        "Calls with unknown outcome",
    ]


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"state": "failed", "finished_at": timedelta()}, "Offboardings not finished"),
        ({"state": "failed", "finished_at": -timedelta(days=60)}, ""),
        ({"state": "incomplete"}, "Offboardings not finished"),
        ({"state": "enforcing", "withdrawn_at": -timedelta(hours=1)}, "Offboardings not finished"),
        ({"state": "enforcing", "withdrawn_at": timedelta()}, ""),
        ({"state": "scheduled", "due_at": -timedelta(hours=1)}, "Offboardings not finished"),
        ({"state": "scheduled", "due_at": timedelta(days=1)}, "Offboardings soon"),
        ({"state": "scheduled", "due_at": timedelta(days=30)}, ""),
        ({"state": "enforced"}, ""),
    ],
)
def test_offboardings_that_need_somebody_are_told(facts: dict[str, Any], told: str) -> None:
    facts = {name: datetime.now(UTC) + at if isinstance(at, timedelta) else at for name, at in facts.items()}
    leaver = User.objects.create_user("ana@example.com")
    Offboarding.objects.create(**({"person": leaver, "due_at": NOW, "created_by": "person:x"} | facts))
    assert titles(a_person("it-admin")) == ([told] if told else [])
    assert titles(a_person("auditor", email="au@example.com")) == []


def test_hostile_names_are_shown_as_what_they_are() -> None:
    tally(3, tool="ticket\u202eget<script>", upstream_ms=5)
    text = home_of(a_person(owner=True))
    assert "⟦U+202E⟧get&lt;script&gt;" in text
    assert "\u202e" not in text


# First steps


def test_a_new_installation_is_led_to_its_first_call() -> None:
    person = a_person("it-admin")
    assert [step.is_done for step in first_steps(person)] == [False] * 5
    Connector.objects.create(name="helpdesk")
    record(AuditEvent("call.outcome", NOW, "agent:x", call_id=uuid7(), outcome="ok"))
    assert [step.title for step in first_steps(person) if step.is_done] == ["Connect a system", "See the first call"]
    assert "First steps" in home_of(person)
    assert first_steps(a_person("auditor", email="au@example.com")) == []


def test_to_publish_somebody_is_led_to_a_step_where_she_may_be() -> None:
    it = a_person("it-admin")
    client = Client()
    client.force_login(it)
    assert publishing_step(it).link == reverse("connector_new")
    connector = Connector.objects.create(name="helpdesk", last_seen_at=NOW)
    assert publishing_step(it).link == reverse("connector_resume", args=[connector.pk])
    assert client.get(publishing_step(it).link, follow=True).status_code == 200


def publishing_step(person: User) -> Step:
    return next(step for step in first_steps(person) if step.title == "Publish a bundle")


# While somebody looks


@pytest.fixture
def every_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "EVERY_SECONDS", 0.01)


@pytest.mark.usefixtures("every_moment")
async def test_the_socket_sends_what_changed_and_ends_with_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = iter([{"numbers": "1", "steps": "a"}, {"numbers": "2", "steps": "a"}, None])

    async def parts(self: live.HomeConsumer) -> dict[str, str] | None:
        await asyncio.sleep(0)
        return next(rounds)

    monkeypatch.setattr(live.HomeConsumer, "_parts", parts)
    socket = ApplicationCommunicator(live.HomeConsumer.as_asgi(), {"type": "websocket", "path": "/ws/home/"})
    await socket.send_input({"type": "websocket.connect"})
    told = [await socket.receive_output() for _ in range(4)]
    assert [message["type"] for message in told] == ["websocket.accept", *["websocket.send"] * 2, "websocket.close"]
    assert orjson.loads(told[1]["text"]) == {"numbers": "1", "steps": "a"}
    assert orjson.loads(told[2]["text"]) == {"numbers": "2"}
    assert told[3]["code"] == 1000


def test_only_a_session_that_still_holds_gets_parts() -> None:
    client, person = Client(), a_person("it-admin")
    client.force_login(person)
    scope = {"session": client.session}
    assert live._signed_in(scope) == person
    person.set_password("another one")
    person.save()
    assert live._signed_in(scope) is None
    client.force_login(person)
    scope = {"session": client.session}
    User.objects.update(is_active=False)
    assert live._signed_in(scope) is None
    User.objects.update(is_active=True)
    client.logout()
    assert live._signed_in(scope) is None
