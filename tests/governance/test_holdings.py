"""Who holds what: on behalf of a person, by a grant for a time, in a staged version, within data scopes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from governance.conditions import compile_condition
from governance.decision import AccessRequest, Decision, Effect, decide
from governance.snapshot import Freeze, Role, Scope, Snapshot, Undecidable
from tests import factories as make

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
AGENT, TOOL, BUNDLE = "agent-triage-bot", "tool-helpdesk-ticket_get", "bundle-support"
LEE = make.person("lee@example.com", teams=("team-root", "team-support"))


def asked(view: Snapshot, arguments: dict[str, Any] | None = None, *, at: datetime = NOON, **fields: Any) -> Decision:
    return decide(AccessRequest(AGENT, "key", TOOL, BUNDLE, arguments or {}, **fields), view, at)


def listed(view: Snapshot) -> Decision:
    return decide(AccessRequest(AGENT, "key", TOOL, BUNDLE, None), view, NOON)


def scope(when: str, text: str = "", *, tools: tuple[str, ...] = ("*",)) -> Scope:
    return Scope(tools, compile_condition(when), text)


def view(*roles: Role, **fields: Any) -> Snapshot:
    """An agent with these roles, and a bundle with two tools."""
    tools = (make.tool("ticket_get"), make.tool("ticket_close"))
    given = {"bundles": (make.bundle(tools=tools),), "agents": (make.agent(roles=roles),)} | fields
    return make.snapshot(**given)


# Data scopes


def test_a_call_must_lie_within_the_scopes_of_a_role() -> None:
    project = make.role(BUNDLE, scopes=(scope("args.project == 'SUP'", "only project SUP"),))
    assert asked(view(project), {"project": "SUP"}).effect is Effect.PERMIT
    outside = asked(view(project), {"project": "HR"})
    assert (outside.effect, outside.code, outside.exists) == (Effect.DENY, "outside_scope", True)
    assert "only project SUP" in outside.reason


def test_what_cannot_be_worked_out_is_outside() -> None:
    assert asked(view(make.role(BUNDLE, scopes=(scope("args.project == 'SUP'"),))), {}).code == "outside_scope"
    unreadable = make.role(BUNDLE, scopes=(Scope(("*",), Undecidable(), ""),))
    assert asked(view(unreadable), {"project": "SUP"}).code == "outside_scope"


def test_all_scopes_of_one_role_must_hold_and_one_role_is_enough() -> None:
    both = make.role(BUNDLE, name="both", scopes=(scope("args.a == 1"), scope("args.b == 1")))
    assert asked(view(both), {"a": 1, "b": 2}).code == "outside_scope"
    other = make.role(BUNDLE, name="other", scopes=(scope("args.b == 2"),))
    assert asked(view(both, other), {"a": 1, "b": 2}).effect is Effect.PERMIT
    assert asked(view(both, make.role(BUNDLE, name="free")), {}).effect is Effect.PERMIT


def test_scopes_of_other_tools_and_of_roles_not_in_time_do_not_count() -> None:
    elsewhere = make.role(BUNDLE, scopes=(scope("false", tools=("ticket_close",)),))
    assert asked(view(elsewhere)).effect is Effect.PERMIT
    limited = make.role(BUNDLE, name="limited", scopes=(scope("args.a == 1"),))
    over = make.role(BUNDLE, name="over", ends_at=NOON)
    assert asked(view(limited, over), {"a": 2}).code == "outside_scope"


def test_a_list_leaves_out_scopes_that_look_at_arguments() -> None:
    assert listed(view(make.role(BUNDLE, scopes=(scope("args.project == 'SUP'"),)))).effect is Effect.PERMIT
    assert listed(view(make.role(BUNDLE, scopes=(scope("agent.name == 'other'"),)))).code == "outside_scope"


def test_a_decision_lasts_no_longer_than_the_roles_whose_scopes_it_fits() -> None:
    fits = make.role(BUNDLE, name="fits", scopes=(scope("args.a == 1"),), ends_at=NOON + HOUR)
    longer = make.role(BUNDLE, name="longer", scopes=(scope("args.a == 2"),))
    assert asked(view(fits, longer), {"a": 1}).valid_until == NOON + HOUR


def test_a_rule_that_always_denies_hides_the_tool_whatever_the_scopes() -> None:
    bundle = make.bundle(rules=(make.rule("deny"),))
    denied = asked(view(make.role(BUNDLE, scopes=(scope("false"),)), bundles=(bundle,)))
    assert (denied.code, denied.exists) == ("denied_by_rule", False)


def told(view: Snapshot, **fields: Any) -> tuple[str, ...]:
    return view.limits_told(view.agents[AGENT], view.bundles[BUNDLE], view.tools[TOOL], NOON, **fields)


def test_agents_are_told_their_limits() -> None:
    limited = make.role(BUNDLE, name="a", scopes=(scope("args.a == 1", "only a"), scope("args.b == 1", "only b")))
    other = make.role(BUNDLE, name="b", scopes=(scope("args.c == 1", "only c"),))
    assert told(view(limited)) == ("only a", "only b")
    assert told(view(limited, other)) == ("only a and only b, or only c",)
    assert told(view(limited, make.role(BUNDLE, name="free"))) == ()
    assert told(view()) == ()


# On behalf of a person


def shared(*person_roles: Role, **fields: Any) -> Snapshot:
    """The agent and Lee hold the bundle, she by a team."""
    agent = make.agent(roles=(make.role(BUNDLE, name="agents"),))
    given = {"agents": (agent,), "people": (LEE,), "roles": {role.id: role for role in person_roles}} | fields
    return view(**given)


HERS = make.role(BUNDLE, name="hers", team_ids=frozenset({"team-root"}))


def test_an_agent_may_on_behalf_of_a_person_only_what_she_holds_too() -> None:
    assert asked(shared(HERS), person_id=LEE.id).effect is Effect.PERMIT
    directly = make.role(BUNDLE, name="direct", person_ids=frozenset({LEE.id}))
    assert asked(shared(directly), person_id=LEE.id).effect is Effect.PERMIT
    for roles in ((), (make.role(BUNDLE, name="others", team_ids=frozenset({"team-hr"})),)):
        decision = asked(shared(*roles), person_id=LEE.id)
        assert (decision.effect, decision.exists) == (Effect.DENY, False)


def test_a_person_widens_nothing() -> None:
    roles = {HERS.id: HERS}
    decision = asked(view(agents=(make.agent(),), people=(LEE,), roles=roles), person_id=LEE.id)
    assert (decision.effect, decision.exists) == (Effect.DENY, False)


@pytest.mark.parametrize("person", [replace(LEE, is_active=False), make.person("other@example.com")])
def test_nobody_inactive_or_unknown_lends_her_rights(person: make.Person) -> None:
    assert not asked(shared(HERS, people=(person,)), person_id=LEE.id).exists


def test_a_person_who_is_not_in_her_time_holds_nothing() -> None:
    assert not asked(shared(replace(HERS, ends_at=NOON)), person_id=LEE.id).exists
    assert asked(shared(replace(HERS, ends_at=NOON + HOUR)), person_id=LEE.id).valid_until == NOON + HOUR


def test_rules_of_the_owners_and_of_the_persons_teams_bind() -> None:
    rules = {"team-root": (make.rule("ask", origin="team root"),)}
    agent = make.agent(roles=(make.role(BUNDLE),), owner=make.person(teams=("team-sales",)))
    both = shared(HERS, agents=(agent,), team_rules=rules | {"team-sales": (make.rule("flag"),)})
    assert [rule.effect for rule in asked(both, person_id=LEE.id).rules] == ["flag", "ask"]
    assert [rule.effect for rule in asked(both).rules] == ["flag"]


def test_conditions_see_the_person_on_whose_behalf() -> None:
    rules = (make.rule("deny", "person.email == 'lee@example.com'"),)
    seen = shared(HERS, bundles=(make.bundle(rules=rules),))
    assert asked(seen, person_id=LEE.id).effect is Effect.DENY
    assert asked(seen).effect is Effect.PERMIT


def test_both_sides_scopes_hold() -> None:
    mine = make.role(BUNDLE, name="mine", scopes=(scope("args.a == 1", "only a"),))
    hers = replace(HERS, scopes=(scope("args.b == 1", "only b"),))
    both = shared(hers, agents=(make.agent(roles=(mine,)),))
    assert asked(both, {"a": 1, "b": 1}, person_id=LEE.id).effect is Effect.PERMIT
    assert asked(both, {"a": 1, "b": 2}, person_id=LEE.id).code == "outside_scope"
    assert asked(both, {"a": 2, "b": 1}, person_id=LEE.id).code == "outside_scope"
    assert told(both, person_id=LEE.id) == ("only a", "only b")


def test_the_read_set_has_all_of_hers() -> None:
    bound = replace(shared(HERS), team_policies={"team-support": frozenset({"policy:hers"})})
    reads = asked(bound, person_id=LEE.id).read_set
    assert reads >= {f"person:{LEE.id}", "team:team-root", "team:team-support", f"role:{HERS.id}", "policy:hers"}
    assert f"person:{LEE.id}" not in asked(bound).read_set


def test_bundles_held_for_a_person() -> None:
    agent = make.agent(roles=(make.role(BUNDLE, "bundle-other"),))
    both = shared(HERS, agents=(agent,), bundles=(make.bundle(), make.bundle("other")))
    assert [bundle.name for bundle in both.bundles_of(agent, NOON)] == ["other", "support"]
    assert [bundle.name for bundle in both.bundles_of(agent, NOON, person_id=LEE.id)] == ["support"]
    assert both.bundle_of(agent, "other", NOON, person_id=LEE.id) is None
    assert [bundle.name for bundle in both.person_bundles(LEE.id, NOON)] == ["support"]
    assert both.person_bundles("nobody", NOON) == []


# Access for a time


def access(kind: str = "elevation", **fields: Any) -> dict[str, Any]:
    given = {"agent_id": AGENT, "bundle_id": BUNDLE, "starts_at": NOON - HOUR, "ends_at": NOON + HOUR}
    grant = make.grant(kind, **(given | fields))
    return {grant.id: grant}


@pytest.mark.parametrize("kind", ["elevation", "break_glass"])
def test_access_for_a_time_gives_the_bundle_and_ends(kind: str) -> None:
    given = view(grants=access(kind))
    decision = asked(given)
    assert (decision.effect, decision.grants, decision.valid_until) == (Effect.PERMIT, (f"grant-{kind}",), NOON + HOUR)
    assert not asked(given, at=NOON + HOUR).exists
    assert not asked(given, at=NOON - 2 * HOUR).exists


def test_access_to_one_tool_gives_only_that() -> None:
    given = view(grants=access(tool_id=TOOL))
    assert asked(given).effect is Effect.PERMIT
    other = AccessRequest(AGENT, "key", "tool-helpdesk-ticket_close", BUNDLE, {})
    assert not decide(other, given, NOON).exists
    assert given.bundle_of(given.agents[AGENT], "support", NOON) is not None


def test_a_freeze_and_a_rule_stop_access_for_a_time_as_well() -> None:
    assert asked(view(grants=access(), freezes=(Freeze(None, None, None, "", None),))).code == "frozen"
    bundle = make.bundle(rules=(make.rule("deny", "args.a == 1"),))
    assert asked(view(grants=access(), bundles=(bundle,)), {"a": 1}).code == "denied_by_rule"


def test_a_lasting_role_needs_no_grant() -> None:
    decision = asked(view(make.role(BUNDLE), grants=access(is_counted=True)))
    assert (decision.grants, decision.counted_grants, decision.valid_until) == ((), (), None)


def test_uses_are_counted_and_none_is_left_when_spent() -> None:
    given = view(grants=access(is_counted=True))
    assert asked(given).counted_grants == ("grant-elevation",)
    assert not asked(given, spent=frozenset({"grant-elevation"})).exists


def test_access_ends_with_whoever_granted_it() -> None:
    grants = access(approvers=(LEE.id,))
    given = view(grants=grants, people=(LEE,))
    assert f"person:{LEE.id}" in asked(given).read_set
    assert asked(given).effect is Effect.PERMIT
    for people in ((), (replace(LEE, is_active=False),)):
        assert not asked(view(grants=grants, people=people)).exists


def test_a_persons_access_for_a_time_counts_on_her_side() -> None:
    grants = access(agent_id="", person_id=LEE.id)
    assert asked(shared(grants=grants), person_id=LEE.id).grants == ("grant-elevation",)
    assert not asked(shared(), person_id=LEE.id).exists


def test_a_decision_lasts_until_another_grant_begins() -> None:
    grants = access(starts_at=NOON + timedelta(minutes=5))
    assert asked(view(make.role(BUNDLE), grants=grants)).valid_until == NOON + timedelta(minutes=5)


# Staged versions


def test_a_staged_version_binds_only_the_agents_it_names() -> None:
    staged = make.bundle(rules=(make.rule("deny"),), version_id="version-staged", number=2)
    pilot = replace(make.agent(roles=(make.role(BUNDLE),)), staged=frozenset({"version-staged"}))
    other = make.agent("other", roles=(make.role(BUNDLE),))
    both = view(agents=(pilot, other), staged={BUNDLE: staged})
    for _ in range(2):
        assert asked(both).effect is Effect.DENY
        assert decide(AccessRequest(other.id, "", TOOL, BUNDLE, {}), both, NOON).effect is Effect.PERMIT
    assert [bundle.number for bundle in both.bundles_of(pilot, NOON)] == [2]
    assert both.bundle_of(other, "support", NOON) is both.bundles[BUNDLE]


def test_a_version_that_is_staged_no_longer_binds_nobody() -> None:
    pilot = replace(make.agent(roles=(make.role(BUNDLE),)), staged=frozenset({"version-earlier"}))
    staged = make.bundle(rules=(make.rule("deny"),), version_id="version-staged")
    assert asked(view(agents=(pilot,), staged={BUNDLE: staged})).effect is Effect.PERMIT
