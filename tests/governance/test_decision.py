"""decide(): default deny, precedence by effect, time, freezes, and what a decision says it rests on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from governance import snapshot as snapshot_module
from governance.decision import AccessRequest, Decision, Effect, decide
from governance.snapshot import Freeze, Rule, Snapshot, Undecidable
from tests import factories as make

MONDAY_NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
EFFECTS = ["permit", "ask", "deny"]


def asked(view: Snapshot, arguments: dict[str, object] | None = None, at: datetime = MONDAY_NOON) -> Decision:
    request = AccessRequest(
        agent_id="agent-triage-bot",
        credential_id="credential-triage-bot",
        tool_id="tool-helpdesk-ticket_get",
        bundle_id="bundle-support",
        arguments={} if arguments is None else arguments,
    )
    return decide(request, view, at)


def holding(*rules: Rule, **fields: object) -> Snapshot:
    """A live agent that holds one tool, under these rules."""
    agent = make.agent(roles=(make.role("bundle-support"),))
    return make.snapshot(agents=(agent,), bundles=(make.bundle(rules=rules),), **fields)  # type: ignore[arg-type]


def test_holding_a_tool_through_a_role_permits() -> None:
    assert asked(holding()).effect is Effect.PERMIT


@pytest.mark.parametrize(
    "agent",
    [
        make.agent(),
        make.agent(roles=(make.role("bundle-other"),)),
        make.agent(roles=(make.role("bundle-support"),), status="suspended"),
        make.agent(roles=(make.role("bundle-support"),), status="retired"),
        make.agent(roles=(make.role("bundle-support"),), owner=make.person(is_active=False)),
    ],
    ids=["no role", "another bundle", "suspended", "retired", "owner inactive"],
)
def test_what_an_agent_does_not_hold_does_not_exist(agent: make.Agent) -> None:
    decision = asked(make.snapshot(agents=(agent,), bundles=(make.bundle(),)))
    assert (decision.effect, decision.exists) == (Effect.DENY, False)


def test_an_unknown_agent_tool_or_bundle_is_denied() -> None:
    empty = make.snapshot()
    assert (asked(empty).effect, asked(empty).exists) == (Effect.DENY, False)


@pytest.mark.parametrize("weaker", EFFECTS)
@pytest.mark.parametrize("stronger", EFFECTS)
def test_the_strongest_effect_wins_wherever_it_stands(weaker: str, stronger: str) -> None:
    expected = EFFECTS[max(EFFECTS.index(weaker), EFFECTS.index(stronger))]
    for order in ((weaker, stronger), (stronger, weaker)):
        assert asked(holding(*(make.rule(effect) for effect in order))).effect == expected


def test_a_condition_decides_whether_its_rule_takes_part() -> None:
    view = holding(make.rule("deny", "args.amount > 100", reason="Too much"))
    assert asked(view, {"amount": 100}).effect is Effect.PERMIT
    denied = asked(view, {"amount": 101})
    assert (denied.effect, denied.reason, denied.exists) == (Effect.DENY, "Too much", True)


def test_a_missing_argument_is_the_strictest_outcome_of_each_rule() -> None:
    assert asked(holding(make.rule("deny", "args.amount > 100"))).effect is Effect.DENY
    assert asked(holding(make.rule("ask", "args.amount > 100"))).effect is Effect.ASK
    permitted = asked(holding(make.rule("permit", "args.amount > 100")))
    assert (permitted.effect, permitted.rules) == (Effect.PERMIT, ())


def test_a_condition_that_no_longer_compiles_denies() -> None:
    rule = make.rule("deny")
    broken = make.Rule(**{name: getattr(rule, name) for name in rule.__slots__} | {"condition": Undecidable()})
    assert asked(holding(broken)).effect is Effect.DENY


def test_only_an_unconditional_denial_hides_the_tool() -> None:
    assert not asked(holding(make.rule("deny"))).exists
    assert asked(holding(make.rule("deny", "agent.name == 'triage-bot'"))).exists


def test_listing_leaves_out_rules_that_look_at_arguments() -> None:
    request = AccessRequest("agent-triage-bot", "", "tool-helpdesk-ticket_get", "bundle-support", None)
    view = holding(make.rule("deny", "args.amount > 100"))
    assert decide(request, view, MONDAY_NOON).effect is Effect.PERMIT


def test_rules_that_wait_for_content_take_no_part_yet() -> None:
    assert asked(holding(make.rule("deny", reads_content=True))).effect is Effect.PERMIT


def test_a_rule_for_other_tools_takes_no_part() -> None:
    assert asked(holding(make.rule("deny", tools=("billing_*",)))).effect is Effect.PERMIT


@pytest.mark.parametrize("glob", ["ticket_*", "helpdesk/ticket_get", "helpdesk__*", "*"])
def test_a_glob_may_name_a_tool_in_three_ways(glob: str) -> None:
    assert asked(holding(make.rule("deny", tools=(glob,)))).effect is Effect.DENY


def test_rules_of_the_owners_teams_bind_her_agents() -> None:
    owner = make.person(teams=("team-root", "team-support"))
    agent = make.agent(owner=owner, roles=(make.role("bundle-support"),))
    rules = {"team-root": (make.rule("deny", "true", origin="team root"),)}
    decision = asked(make.snapshot(agents=(agent,), bundles=(make.bundle(),), team_rules=rules))
    assert (decision.effect, decision.rules[0].origin) == (Effect.DENY, "team root")


def test_a_role_counts_only_in_its_time() -> None:
    hours = {"days": ["mon"], "from": "08:00", "to": "19:00"}
    agent = make.agent(roles=(make.role("bundle-support", schedule=hours, ends_at=MONDAY_NOON + timedelta(days=10)),))
    view = make.snapshot(agents=(agent,), bundles=(make.bundle(),), timezone="America/New_York")
    in_time = asked(view, at=datetime(2026, 3, 2, 13, 0, tzinfo=UTC))
    assert in_time.effect is Effect.PERMIT
    assert in_time.valid_until == datetime(2026, 3, 3, 0, 0, tzinfo=UTC)
    assert not asked(view, at=datetime(2026, 3, 2, 12, 59, tzinfo=UTC)).exists
    assert not asked(view, at=datetime(2026, 3, 3, 13, 0, tzinfo=UTC)).exists
    assert not asked(view, at=datetime(2026, 3, 16, 14, 0, tzinfo=UTC)).exists


def test_a_night_shift_passes_midnight() -> None:
    agent = make.agent(roles=(make.role("bundle-support", schedule={"days": ["mon"], "from": "22:00", "to": "06:00"}),))
    view = make.snapshot(agents=(agent,), bundles=(make.bundle(),))
    assert asked(view, at=datetime(2026, 3, 3, 5, 59, tzinfo=UTC)).effect is Effect.PERMIT
    assert not asked(view, at=datetime(2026, 3, 3, 6, 0, tzinfo=UTC)).exists
    assert not asked(view, at=datetime(2026, 3, 2, 5, 59, tzinfo=UTC)).exists


def test_a_decision_ends_with_the_key() -> None:
    agent = make.agent(roles=(make.role("bundle-support"),))
    ends = MONDAY_NOON + timedelta(minutes=5)
    view = make.snapshot(
        agents=(agent,), bundles=(make.bundle(),), credentials=(make.credential(agent, expires_at=ends),)
    )
    assert asked(view).valid_until == ends


def test_a_decision_that_read_the_time_lasts_a_second() -> None:
    view = holding(make.rule("deny", "!time.businessHours"))
    assert asked(view).valid_until == MONDAY_NOON + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("target", "is_frozen"),
    [
        ({"agent_id": "agent-triage-bot"}, True),
        ({"agent_id": "agent-other"}, False),
        ({"connector_id": "connector-helpdesk"}, True),
        ({"tool_id": "tool-helpdesk-ticket_get"}, True),
        ({"tool_id": "tool-helpdesk-other"}, False),
        ({}, True),
    ],
)
def test_a_freeze_covers_its_target(target: dict[str, str], is_frozen: bool) -> None:
    fields = {"agent_id": None, "connector_id": None, "tool_id": None} | target
    freeze = Freeze(**fields, reason="incident", ends_at=MONDAY_NOON + timedelta(hours=1))
    decision = asked(holding(freezes=(freeze,)))
    assert (decision.code == "frozen") is is_frozen
    assert asked(holding(freezes=(freeze,)), at=MONDAY_NOON + timedelta(hours=1)).effect is Effect.PERMIT


def test_the_read_set_names_all_the_decision_rests_on() -> None:
    owner = make.person(teams=("team-support",))
    agent = make.agent(owner=owner, roles=(make.role("bundle-support"),))
    decision = asked(make.snapshot(agents=(agent,), bundles=(make.bundle(),)))
    assert decision.read_set >= {
        "agent:agent-triage-bot",
        "person:person-ana@example.com",
        "credential:credential-triage-bot",
        "team:team-support",
        "role:role-role",
        "bundle:bundle-support",
        "tool:tool-helpdesk-ticket_get",
        "connector:connector-helpdesk",
    }


def test_a_team_policy_without_rules_is_in_the_read_set() -> None:
    """Its first deny rule must touch whoever it will bind."""
    owner = make.person(teams=("team-support",))
    agent = make.agent(owner=owner, roles=(make.role("bundle-support"),))
    view = make.snapshot(agents=(agent,), bundles=(make.bundle(),))
    policies = {"team-support": frozenset({"policy:new"})}
    bound = replace(view, team_policies=policies)
    assert "policy:new" in asked(bound).read_set


# Resources and prompts


def asked_for(view: Snapshot, name: str, *, kind: str = "resource", arguments: object = None) -> Decision:
    target = view.target(make.connector(), kind, name)
    assert target is not None
    request = AccessRequest(
        agent_id="agent-triage-bot",
        credential_id="credential-triage-bot",
        tool_id=target.id,
        bundle_id="bundle-support",
        arguments=arguments,  # type: ignore[arg-type]
        target=target,
    )
    return decide(request, view, MONDAY_NOON)


def reading(*rules: Rule, **fields: object) -> Snapshot:
    """A live agent that may read the handbook, but not the salaries in it."""
    agent = make.agent(roles=(make.role("bundle-support"),))
    handbook = make.selection("resource", allow=("file:///handbook/*",), deny=("*/salaries/*",))
    bundle = make.bundle(rules=rules, selections=(handbook,))
    return make.snapshot(agents=(agent,), bundles=(bundle,), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "kind", "exists"),
    [
        ("file:///handbook/holidays", "resource", True),
        ("file:///handbook/salaries/ana", "resource", False),
        ("file:///etc/passwd", "resource", False),
        ("file:///handbook/holidays", "prompt", False),
        ("ticket_get", "prompt", False),
    ],
)
def test_a_bundle_gives_of_resources_and_prompts_what_it_selects(name: str, kind: str, exists: bool) -> None:
    decision = asked_for(reading(), name, kind=kind)
    assert (decision.effect is Effect.PERMIT, decision.exists) == (exists, exists)


def test_a_bundle_without_selections_gives_no_resource_and_no_prompt() -> None:
    for kind in ("resource", "prompt"):
        assert not asked_for(holding(), "file:///handbook/holidays", kind=kind).exists


@pytest.mark.parametrize(
    ("tools", "effect"),
    [
        (("*",), Effect.DENY),
        (("resource:*",), Effect.DENY),
        (("resource:file:///handbook/holi*",), Effect.DENY),
        (("helpdesk/resource:*",), Effect.DENY),
        (("prompt:*",), Effect.PERMIT),
        (("file:*",), Effect.PERMIT),
    ],
)
def test_rules_name_resources_by_their_uri(tools: tuple[str, ...], effect: Effect) -> None:
    decision = asked_for(reading(make.rule("deny", "true", tools=tools)), "file:///handbook/holidays")
    assert decision.effect is effect


def test_a_rule_sees_the_uri_as_an_argument() -> None:
    rule = make.rule("deny", "args.uri == 'file:///handbook/holidays'", tools=("resource:*",))
    uri = "file:///handbook/holidays"
    assert asked_for(reading(rule), uri, arguments={"uri": uri}).effect is Effect.DENY
    assert asked_for(reading(rule), uri).effect is Effect.PERMIT


def test_a_freeze_of_the_connector_holds_for_its_resources() -> None:
    view = reading(freezes=(Freeze(None, make.connector().id, None, "", None),))
    assert asked_for(view, "file:///handbook/holidays").code == "frozen"


def test_a_decision_on_a_resource_rests_on_rows_only() -> None:
    reads = asked_for(reading(), "file:///handbook/holidays").read_set
    assert {entry.partition(":")[0] for entry in reads} == {
        *("agent", "bundle", "connector", "credential", "person", "role")
    }


def test_hostile_names_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_module, "HOLDINGS_KEPT", 10)
    view = reading()
    asked(view)
    for number in range(100):
        asked_for(view, f"file:///handbook/{number}")
    assert len(view._target_holdings) <= 10
    assert (len(view._holdings), len(view._target_reads)) == (1, 1)
    assert asked_for(view, "file:///handbook/1").effect is Effect.PERMIT
