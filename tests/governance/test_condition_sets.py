"""Conditions that are evaluated together come to what each comes to alone, whatever a call brings."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from governance.condition_sets import ConditionSet, condition_set
from governance.conditions import Verdict, compile_condition

SOURCES = [
    "args.amount > 100",
    "args.amount > 100.5 // not too much",
    "args.amount > 100 || args.urgent",
    "has(args.amount) && args.amount > 100",
    "has(args.customer) && args.customer.tier == 'gold'",
    "args.customer.tier == 'gold'",
    'args["amount"] == 7',
    "args.amount == args.urgent",
    "args.note.startsWith('hello')",
    "args.note.matches('(a+)+b')",
    "args.size() > 2",
    "args.urgent",
    "args.note",
    "args.items.all(item, item.price < 5)",
    "args.items.exists(item, item.price < 5) || tool.risk == 'low'",
    "args.amount > 1 ? args.urgent : false",
    "args.note == 'a || b ? c'",
    "args.note == 'args.missing'",
    '"x" in session.labels',
    "session.labels.size() > 1 || session.id == 's'",
    "'office' in network.names",
    "!('office' in network.names)",
    "person.attributes.repos.exists(repo, repo == args.repo)",
    "args.repo in person.attributes.repos",
    "time.businessHours",
    "!time.holiday && time.hour < 13",
    "time.now > timestamp('2026-01-01T00:00:00Z')",
    "1 / args.amount > 0",
    "args.amount * 9223372036854775807 > 0",
    "agent.name == 'triage-bot'",
    "tool.untrusted",
    "true",
    "false",
]
VALUES = st.sampled_from(
    [
        *(
            None,
            True,
            False,
            0,
            7,
            101,
            2**63,
            -(2**63),
            100.75,
            float("inf"),
            "",
            "gold",
            "gold\0en",
            "hello you",
            "a" * 40,
        ),
        *(
            ["x\0y"],
            {"tier": "gold\0"},
            {"tier\0": "gold"},
            [],
            ["x"],
            [{"price": 1}, {"price": 9}],
            [{"price": "?"}],
            {},
            {"tier": "gold"},
            {"tier": 1},
        ),
    ]
)
ARGUMENTS = st.dictionaries(st.sampled_from(["amount", "urgent", "customer", "note", "items", "repo"]), VALUES)
NOON = {
    "now": datetime(2026, 3, 2, 12, tzinfo=UTC),
    "hour": 12,
    "minute": 0,
    "weekday": "mon",
    "date": "2026-03-02",
    "businessHours": True,
    "holiday": False,
}


@st.composite
def calls(draw: st.DrawFn) -> dict[str, Any]:
    known = {
        "agent": {"name": "triage-bot"},
        "person": {"attributes": draw(st.sampled_from([{}, {"repos": ["x", "gold"]}]))},
        "tool": {"risk": "low", "untrusted": draw(st.booleans())},
        "args": draw(ARGUMENTS),
        "session": draw(st.sampled_from([{"id": "s"}, {"id": "s", "labels": ["x", "y"]}])),
        "network": draw(st.sampled_from([{"source_ip": ""}, {"source_ip": "192.0.2.1", "names": ["office"]}])),
        "findings": [],
        "time": draw(st.sampled_from([NOON, {name: value for name, value in NOON.items() if len(name) < 5}])),
    }
    gone = draw(st.sets(st.sampled_from(["person", "session", "network", "time"]), max_size=1))
    return {name: value for name, value in known.items() if name not in gone}


def one_by_one(sources: list[str], variables: Mapping[str, Any]) -> dict[str, Verdict]:
    return {source: compile_condition(source).evaluate(variables) for source in sources}


def together(sources: list[str], variables: Mapping[str, Any]) -> list[dict[str, Verdict]]:
    """The first time and from then on."""
    conditions = ConditionSet(tuple(map(compile_condition, sources)))
    return [conditions.evaluate(variables) for _ in range(3)]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(SOURCES), min_size=1, max_size=12, unique=True), calls())
@example(SOURCES, {"args": {}, "findings": []})
@example(SOURCES, {"args": {"repo": "gold\0en"}, "person": {"attributes": {"repos": ["gold"]}}, "findings": []})
def test_together_is_as_one_by_one(sources: list[str], variables: dict[str, Any]) -> None:
    for verdicts in together(sources, variables):
        assert verdicts == one_by_one(sources, variables)


@pytest.mark.parametrize("source", SOURCES)
def test_each_beside_others_that_can_be_told(source: str) -> None:
    sources = [source, "agent.name == 'a'", "agent.name == 'b'", "agent.name == 'c'"]
    variables = {"agent": {"name": "a"}, "args": {"amount": 101}, "findings": [], "time": NOON}
    for verdicts in together(sources, variables):
        assert verdicts == one_by_one(sources, variables)


def test_no_condition_can_reach_into_its_neighbours() -> None:
    """Each is compiled alone before, so none can close the list it stands in."""
    sources = ["args.a == '], [true'", "true // ) , true", "args.b == 1 // ]", "false"]
    for verdicts in together(sources, {"args": {"a": "x", "b": 1}, "findings": []}):
        assert [verdicts[source] for source in sources] == [Verdict.FALSE, Verdict.TRUE, Verdict.TRUE, Verdict.FALSE]


def test_more_than_one_program_can_hold_is_evaluated_all_the_same() -> None:
    sources = [f"args.note == '{'x' * 4000}{number}'" for number in range(60)]
    for verdicts in together(sources, {"args": {"note": "y"}, "findings": []}):
        assert set(verdicts.values()) == {Verdict.FALSE}


def test_however_many_each_comes_to_its_own() -> None:
    sources = [f"args.amount > {number}" for number in range(99)]
    sources[40] = "args.items.exists(item, item > 5)"
    for verdicts in together(sources, {"args": {"amount": 57, "items": [7]}, "findings": []}):
        assert [verdicts[source] is Verdict.TRUE for source in sources] == [n < 57 for n in range(99)]


def test_equal_conditions_share_one_program() -> None:
    first = tuple(map(compile_condition, SOURCES[:3]))
    assert condition_set(first) is condition_set(tuple(map(compile_condition, SOURCES[:3])))
