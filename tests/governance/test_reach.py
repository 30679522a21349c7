"""Reach against decide(): what can ever be called, and what a change does to that."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from governance import shifts
from governance.conditions import compile_condition
from governance.decision import AccessRequest, Effect, decide
from governance.reach import Limit, Reach, TooMuchToTell
from governance.shifts import Danger, Kind, difference
from governance.snapshot import Agent, Freeze, Rule, Scope, Snapshot, Tool
from tests import factories as make

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MOMENTS = [NOW, NOW + timedelta(hours=11), NOW + timedelta(days=2)]
ARGUMENTS: list[dict[str, Any]] = [{}, {"amount": 5}, {"amount": 500}]
HELPDESK, CRM = make.connector("helpdesk"), make.connector("crm", is_enabled=False)
TOOLS = [make.tool("ticket_get", of=HELPDESK), make.tool("ticket_delete", of=HELPDESK), make.tool("search", of=CRM)]
CONDITIONS = [
    "",
    "agent.name == 'bot-1'",
    "person.staff",
    "args.amount > 100",
    "args.amount > 100 || true",
    "args.amount > 100 && tool.name == 'search'",
    "time.hour < 13",
    "tool.name == 'ticket_get'",
    "agent.name.startsWith('bot')",
    "agent.name == 'bot-1' && tool.name == 'ticket_get'",
    "agent.name != 'bot-1' || args.amount > 100",
    "false",
]

ELEVATIONS = [
    make.grant(
        "elevation",
        agent_id="agent-bot-1",
        bundle_id="bundle-one",
        tool_id=TOOLS[0].id,
        ends_at=NOW + timedelta(days=1),
    ),
    make.grant("break_glass", agent_id="agent-bot-2", bundle_id="bundle-two"),
]

rules = st.builds(
    lambda effect, when, glob, origin, connectors: make.rule(
        effect, when, tools=(glob,), origin=origin, connectors=connectors
    ),
    st.sampled_from(["permit", "ask", "deny"]),
    st.sampled_from(CONDITIONS),
    st.sampled_from(["*", "ticket_*", "crm/*", "nothing"]),
    st.sampled_from(["organization", "bundle"]),
    st.sampled_from([(), (), ("help*",), ("crm",)]),
)
SCOPE = Scope(("ticket_*",), compile_condition("args.amount < 100"), "below 100")
roles = st.builds(
    lambda name, bundles, fields: make.role(*bundles, name=name, **fields),
    st.sampled_from(["a", "b", "c"]),
    st.sets(st.sampled_from(["bundle-one", "bundle-two"]), max_size=2),
    st.sampled_from(
        [
            {},
            {"ends_at": NOW - timedelta(days=1)},
            {"starts_at": NOW + timedelta(days=1)},
            {"schedule": {"from": "20:00", "to": "02:00"}},
            {"scopes": (SCOPE,)},
        ]
    ),
)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    agents = tuple(
        make.agent(
            f"bot-{number}",
            owner=make.person(
                f"{number}@example.com", is_active=draw(st.booleans()), teams=draw(st.sampled_from([(), ("t",)]))
            ),
            roles=tuple(draw(st.lists(roles, max_size=2, unique_by=lambda role: role.id))),
            status=draw(st.sampled_from(["live", "live", "suspended"])),
        )
        for number in range(3)
    )
    bundles = tuple(
        make.bundle(
            name,
            tuple(draw(st.lists(st.sampled_from(TOOLS), min_size=1, unique_by=lambda tool: tool.id))),
            tuple(draw(st.lists(rules, max_size=3))),
        )
        for name in draw(st.sets(st.sampled_from(["one", "two"])))
    )
    freezes = draw(
        st.sampled_from(
            [(), (Freeze("agent-bot-0", None, None, "", None),), (Freeze(None, None, TOOLS[0].id, "", None),)]
        )
    )
    staged = make.bundle("one", tuple(TOOLS), tuple(draw(st.lists(rules, max_size=2))), version_id="staged")
    first, *others = agents
    return make.snapshot(
        agents=(replace(first, staged=draw(st.sampled_from([frozenset(), frozenset({"staged"})]))), *others),
        bundles=bundles,
        freezes=freezes,
        team_rules={"t": tuple(draw(st.lists(rules, max_size=2)))},
        staged={"bundle-one": staged},
        grants=draw(st.sampled_from([{}, {grant.id: grant for grant in ELEVATIONS}])),
    )


def effects(view: Snapshot, agent: Agent, tool: Tool) -> set[Effect]:
    """All that `decide` says, through whichever bundle serves best, at each moment and with each arguments."""
    found = set()
    for at, arguments in product(MOMENTS, ARGUMENTS):
        requests = (AccessRequest(agent.id, "", tool.id, bundle, arguments) for bundle in {*view.bundles, *view.staged})
        found.add(
            min((decide(request, view, at).effect for request in requests), key=list(Effect).index, default=Effect.DENY)
        )
    return found


@settings(max_examples=300, deadline=None)
@given(snapshots())
def test_reach_is_what_some_call_could_get(view: Snapshot) -> None:
    reach = Reach(view, NOW)
    for agent, tool in product(view.agents.values(), TOOLS):
        limit, seen = reach.of(agent).get(tool.id), effects(view, agent, tool)
        if limit is None:
            assert seen == {Effect.DENY}
        elif limit == Limit.NOTHING:
            assert seen == {Effect.PERMIT}
        elif limit <= Limit.ASKED:
            assert Effect.DENY not in seen


@settings(max_examples=200, deadline=None)
@given(snapshots())
def test_what_limits_the_only_way_to_a_tool_shows_in_its_calls(view: Snapshot) -> None:
    view = replace(view, bundles=dict(list(view.bundles.items())[:1]))
    reach = Reach(view, NOW)
    for agent, tool in product(view.agents.values(), TOOLS):
        limit, seen = reach.of(agent).get(tool.id), effects(view, agent, tool)
        if limit is not None and not limit & Limit.SOMETIMES_ASKED:
            assert Effect.ASK not in seen
        if limit is not None and limit & Limit.ASKED == Limit.ASKED:
            assert Effect.PERMIT not in seen


@settings(max_examples=200, deadline=None)
@given(snapshots())
def test_agents_who_share_an_answer_get_the_same_one_alone(view: Snapshot) -> None:
    together = Reach(view, NOW)
    for agent in view.agents.values():
        assert together.of(agent) == Reach(view, NOW).of(agent)


def test_a_comparison_of_too_many_agents_and_tools_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conditions that treat all agents alike, or all tools, are no matter of how many there are."""
    monkeypatch.setattr(shifts, "MOST_VERDICTS", 30)
    before = holding(tools=MANY, agents=10)
    for condition in ("agent.name == 'bot-7'", "tool.name == 'tool_1'", "agent.name == 'bot-7' && tool.name == 'x'"):
        assert difference(before, holding(make.rule("deny", condition), tools=MANY, agents=10), now=NOW) is not None
    both = make.rule("deny", "agent.name.contains(tool.name)")
    with pytest.raises(TooMuchToTell):
        difference(before, holding(both, tools=MANY, agents=10), now=NOW)


@settings(max_examples=200, deadline=None)
@given(snapshots(), snapshots())
def test_the_difference_is_that_of_every_agent_and_tool(before: Snapshot, after: Snapshot) -> None:
    told = {
        (shift.kind in (Kind.GAIN, Kind.GAIN_ASKED), agent, tool.id)
        for shift in difference(before, after, now=NOW).shifts
        if shift.kind in (Kind.GAIN, Kind.GAIN_ASKED, Kind.LOSS)
        for agent, tool in product(shift.agents, shift.tools)
    }
    was, becomes = Reach(before, NOW), Reach(after, NOW)
    expected = set()
    for agent, tool in product(before.agents, TOOLS):
        had, has = tool.id in was.of(before.agents[agent]), tool.id in becomes.of(after.agents[agent])
        if had != has:
            expected.add((has, before.agents[agent].name, tool.id))
    assert told == expected


@settings(max_examples=100, deadline=None)
@given(snapshots(), snapshots())
def test_whoever_is_passed_over_has_the_same_reach(before: Snapshot, other: Snapshot) -> None:
    kept = {i: before.bundles.get(i, bundle) for i, bundle in other.bundles.items()}
    after = replace(before, bundles=kept, tools={**before.tools, **other.tools})
    was, becomes = Reach(before, NOW), Reach(after, NOW, known=Reach(before, NOW))
    for agent in after.agents.values():
        assert becomes.differs_for(agent.id) or was.of(agent) == becomes.of(agent)


# What people read


def holding(*rules: Rule, tools: tuple[Tool, ...] = (), agents: int = 1, held: bool = True, **fields: Any) -> Snapshot:
    roles = (make.role("bundle-support", **fields),) if held else ()
    bots = tuple(make.agent("triage-bot" if agents == 1 else f"bot-{number}", roles=roles) for number in range(agents))
    return make.snapshot(agents=bots, bundles=(make.bundle("support", tools, rules),))


def a_tool(name: str, *, risk: str = "medium", read_only: bool = True, of: str = "helpdesk") -> Tool:
    tool = make.tool(name, of=make.connector(of))
    return replace(tool, variables={**tool.variables, "risk": risk, "read_only": read_only})


READ, DELETE = a_tool("ticket_get"), a_tool("ticket_delete", risk="high", read_only=False)
MANY = tuple(a_tool(f"tool_{number}") for number in range(4))


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (
            holding(tools=(READ,), agents=3),
            holding(tools=(READ, DELETE), agents=3),
            "3 agents gain ticket_delete (high risk)",
        ),
        (
            holding(tools=(READ,)),
            holding(tools=(READ, a_tool("ticket_update", read_only=False))),
            "triage-bot gains ticket_update (can change data)",
        ),
        (holding(tools=MANY), holding(tools=MANY, held=False), "triage-bot loses 4 tools of helpdesk"),
        (
            holding(tools=(READ,), agents=12),
            holding(make.rule("ask"), tools=(READ,), agents=12),
            "12 agents newly need a human's yes before ticket_get",
        ),
        (
            holding(make.rule("ask", "args.amount > 100"), tools=(READ,)),
            holding(tools=(READ,)),
            "triage-bot no longer needs a human's yes before ticket_get",
        ),
        (
            holding(tools=(READ,)),
            holding(make.rule("deny", "!time.businessHours"), tools=(READ,)),
            "triage-bot may use ticket_get only under a new condition",
        ),
        (
            holding(tools=(READ,)),
            holding(tools=(READ,), schedule={"from": "08:00", "to": "19:00"}),
            "triage-bot may use ticket_get only at certain times",
        ),
    ],
)  # fmt: skip
def test_a_difference_reads_as_a_sentence(before: Snapshot, after: Snapshot, sentence: str) -> None:
    assert [str(shift) for shift in difference(before, after, now=NOW).shifts] == [sentence]


def test_what_is_dangerous_comes_first() -> None:
    before, after = holding(tools=MANY), holding(tools=(*MANY[1:], READ, DELETE))
    shifts = difference(before, after, now=NOW).shifts
    assert [(shift.danger, shift.kind) for shift in shifts] == [
        (Danger.HIGH_RISK, Kind.GAIN),
        (Danger.READS, Kind.LOSS),
    ]


def test_a_summary_is_bounded() -> None:
    before = make.snapshot(agents=tuple(make.agent(f"bot-{i}") for i in range(9)))
    agents = tuple(make.agent(f"bot-{i}", roles=(make.role(f"bundle-{i}", name=str(i)),)) for i in range(9))
    after = make.snapshot(agents=agents, bundles=tuple(make.bundle(str(i), (a_tool(f"t{i}"),)) for i in range(9)))
    assert difference(before, after, now=NOW).summary().endswith("; and 6 more")
