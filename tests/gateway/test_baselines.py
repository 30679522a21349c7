"""What is usual for an agent, and what rules do about the rest."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from audit.models import CallTally, EventRow
from gateway.baselines import LEARNING, learn
from gateway.pipeline import run
from governance.fence.actor import governed_change
from governance.models import AgentBaseline
from governance.rule_checks import check_alone
from governance.rule_texts import RuleText
from governance.snapshot_builder import build_snapshot
from governance.snapshot_values import Baseline
from tests.fakes import FakePorts
from tests.fresh_database import fresh_database
from tests.gateway.notice_world import agent
from tests.gateway.test_content_rules import details, rule
from tests.gateway.test_pipeline import code_of, frame, text_of, world

__all__ = ("fresh_database",)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
USUAL = Baseline(
    NOON - timedelta(days=1), frozenset({"helpdesk/ticket_get"}), frozenset({"helpdesk"}), frozenset({12}), 5
)


def ports_with(*rules: Any, usual: Baseline | None = USUAL, at: datetime = NOON) -> FakePorts:
    snapshot = world(*(rules or (rule("deny", "anomaly"),)))
    baselines = {} if usual is None else dict.fromkeys(snapshot.agents, usual)
    return FakePorts(replace(snapshot, baselines=baselines), at=at)


def found_in(ports: FakePorts) -> list[str]:
    return [each["rule"] for each in details(ports, 0).get("findings", ())]


async def test_what_is_usual_passes() -> None:
    ports = ports_with()
    assert text_of(await run(frame(), ports)) == "done"
    assert found_in(ports) == []


@pytest.mark.parametrize(
    ("usual", "at", "expected"),
    [
        (replace(USUAL, tools=frozenset({"helpdesk/other"})), NOON, ["new_tool"]),
        (replace(USUAL, tools=frozenset(), connectors=frozenset({"crm"})), NOON, ["new_system", "new_tool"]),
        (USUAL, NOON + timedelta(hours=5), ["unusual_hour"]),
    ],
    ids=["tool", "system", "hour"],
)
async def test_what_is_new_is_found_and_a_rule_acts_on_it(usual: Baseline, at: datetime, expected: list[str]) -> None:
    ports = ports_with(usual=usual, at=at)
    assert code_of(await run(frame(), ports)) == "denied_by_rule"
    assert found_in(ports) == expected
    flagged = ports_with(rule("flag", "anomaly"), usual=usual, at=at)
    assert text_of(await run(frame(), flagged)) == "done"
    assert found_in(flagged) == expected


async def test_ten_times_as_much_as_ever_is_unusual() -> None:
    ports = ports_with(rule("flag", "anomaly"))
    for _ in range(51):
        await run(frame(), ports)
    intents = [entry.event.details for entry in ports.entries if entry.event.kind == "call.intent"]
    assert [len(each.get("findings", ())) for each in intents] == [0] * 50 + [1]
    assert intents[-1]["findings"][0]["rule"] == "high_volume"


async def test_nothing_is_unusual_while_it_learns_or_where_no_rule_asks() -> None:
    learning = replace(USUAL, tools=frozenset(), learns_until=NOON + timedelta(days=1))
    for ports in (
        ports_with(usual=learning),
        ports_with(usual=None),
        ports_with(rule("deny", "secret"), usual=replace(USUAL, tools=frozenset())),
    ):
        assert text_of(await run(frame(), ports)) == "done"
        assert found_in(ports) == []


@pytest.mark.database
def test_the_worker_learns_from_the_tallies_and_anew_when_it_is_deleted(fresh_database: None) -> None:
    bot, now = agent(), datetime.now(UTC)
    learn(now)
    row = AgentBaseline.objects.get()
    assert (row.agent, row.learns_until - row.since, row.tools) == (bot, LEARNING, [])
    hour = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    told = {"agent": bot.name, "connector": "helpdesk", "hour": hour}
    CallTally.objects.create(**told, tool="ticket_find", decision="ask", outcome="refused", calls=9)
    before = {**told, "hour": hour - timedelta(hours=1)}
    CallTally.objects.create(**before, tool="ticket_list", decision="permit", outcome="ok", calls=9)
    CallTally.objects.create(**told, tool="ticket_get", decision="permit", outcome="ok", calls=6)
    CallTally.objects.create(**told, tool="ticket_get", decision="permit", outcome="error", calls=1)
    CallTally.objects.create(**told, tool="ticket_delete", decision="deny", outcome="refused", calls=9)
    assert learn(now + timedelta(hours=3)) == 1
    assert learn(now + timedelta(hours=3)) == 0, "nothing is written while nothing changes"
    usual = build_snapshot().baselines[bot.pk.hex]
    assert (usual.tools, usual.connectors, usual.busiest_hour) == ({"helpdesk/ticket_get"}, {"helpdesk"}, 7)
    assert usual.hours == {hour.hour}
    with governed_change(by="person:it@example.com"):
        AgentBaseline.objects.all().delete()
    actors = Counter(EventRow.objects.filter(kind="governance.changed").values_list("actor", flat=True))
    assert (actors["system:worker"], actors["person:it@example.com"]) == (2, 1), "each change is in evidence"
    assert not build_snapshot().baselines
    learn(now + timedelta(days=20))
    assert AgentBaseline.objects.get().learns_until == now + timedelta(days=20) + LEARNING


@pytest.mark.database
def test_what_is_new_becomes_usual_a_day_later(fresh_database: None) -> None:
    bot, now = agent(), datetime.now(UTC)
    AgentBaseline.objects.create(agent=bot, since=now - timedelta(days=20), learns_until=now - timedelta(days=6))
    CallTally.objects.create(
        agent=bot.name, connector="crm", tool="get", hour=now - timedelta(hours=2), outcome="ok", calls=1
    )
    learn(now)
    assert AgentBaseline.objects.get().tools == []
    learn(now + timedelta(days=1))
    assert AgentBaseline.objects.get().tools == ["crm/get"]


@pytest.mark.database
def test_what_it_did_last_while_it_learned_stays_usual(fresh_database: None) -> None:
    bot, now = agent(), datetime.now(UTC)
    ends = now - timedelta(hours=1)
    AgentBaseline.objects.create(agent=bot, since=ends - LEARNING, learns_until=ends)
    for tool, hours in (("before", 3), ("after", 0.5)):
        at = now - timedelta(hours=hours)
        CallTally.objects.create(agent=bot.name, connector="crm", tool=tool, hour=at, outcome="ok", calls=1)
    learn(now)
    assert AgentBaseline.objects.get().tools == ["crm/before"]


def test_an_anomaly_cannot_be_masked() -> None:
    assert [fault.code for fault in check_alone(RuleText("mask", findings=("anomaly",)))] == ["masks_nothing"]
