"""Comparing what is wanted with what is there, and holding rules against tools. No database."""

import pytest

from governance.manifest.entries import PersonEntry
from governance.manifest.plan import Plan, Refused, plan
from governance.manifest.rules import checked
from governance.manifest.schema import Manifest, dump_entry
from tests.governance.manifests import manifest, stored

NOTHING = Manifest({})
AMOUNT = {"type": "object", "properties": {"amount": {"type": "number"}}}
QUERY = {"type": "object", "properties": {"query": {"type": "string"}}}
TOOLS = {"helpdesk": {"billing_refund": AMOUNT, "kb_search": QUERY}}


def drawn(wanted: str, before: str = "", *, prune: bool = False) -> Plan:
    return plan(manifest(wanted), stored(before), new_values=(), prune=prune)


def refusal(wanted: str, before: str = "", *, prune: bool = False) -> str:
    with pytest.raises(Refused) as caught:
        drawn(wanted, before, prune=prune)
    return str(caught.value)


def actions(found: Plan) -> list[str]:
    return [f"{step.action} {step.kind}/{step.key}" for step in found.steps]


def test_only_differences_are_steps() -> None:
    found = drawn("teams: [{name: a}, {name: b, title: B}, {name: c}]", "teams: [{name: a}, {name: b}]")
    assert actions(found) == ["update teams/b", "create teams/c"]


def test_a_section_that_is_not_named_is_left_alone_even_when_pruning() -> None:
    before = "teams: [{name: a}]\nroles: [{name: r}]"
    assert actions(drawn("roles: []", before, prune=True)) == ["remove roles/r"]


def test_without_prune_nothing_is_ended() -> None:
    assert drawn("teams: []", "teams: [{name: a}]").is_empty


def test_pruning_ends_each_kind_in_its_own_way() -> None:
    before = """\
        teams: [{name: t}]
        people: [{email: a@b.co}]
        secrets: [{name: s}]
        connectors: [{name: c, url: http://a/}]
        policies: [{name: p}]
        bundles: [{name: b}]
        roles: [{name: r}]
        agents: [{name: x, owner: a@b.co}]
    """
    wanted = "teams: []\npeople: []\nsecrets: []\nconnectors: []\npolicies: []\nbundles: []\nroles: []\nagents: []"
    found = drawn(wanted, before, prune=True)
    assert actions(found) == [
        "retire agents/x",
        "remove roles/r",
        "withdraw bundles/b",
        "disable connectors/c",
        "remove secrets/s",
        "deactivate people/a@b.co",
        "remove teams/t",
        "withdraw policies/p",
    ]
    ended = "people: [{email: a@b.co, active: false}]\nagents: [{name: x, owner: a@b.co, status: retired}]"
    assert drawn("people: []\nagents: []", ended, prune=True).is_empty


def test_owners_are_not_pruned_nor_deactivated() -> None:
    before = Manifest({"people": (PersonEntry(email="o@b.co", is_owner=True),)})
    found = plan(manifest("people: []"), before, new_values=(), prune=True)
    assert (found.is_empty, "o@b.co is an owner and stays" in found.warnings[0]) == (True, True)
    with pytest.raises(Refused, match="is an owner"):
        plan(manifest("people: [{email: o@b.co, active: false}]"), before, new_values=(), prune=False)


@pytest.mark.parametrize(
    ("wanted", "before"),
    [
        ("people: [{email: a@b.co, staff: true}]", "people: [{email: a@b.co, active: false}]"),
        (
            "agents: [{name: x, owner: a@b.co}]",
            "people: [{email: a@b.co}]\nagents: [{name: x, owner: a@b.co, status: retired}]",
        ),
        (
            "agents: [{name: x, owner: a@b.co}]",
            "people: [{email: a@b.co}]\nagents: [{name: x, owner: a@b.co, status: suspended}]",
        ),
        ("connectors: [{name: c, url: http://a/}]", "connectors: [{name: c, url: http://a/, enabled: false}]"),
    ],
)
def test_an_old_file_brings_nothing_back(wanted: str, before: str) -> None:
    found = drawn(wanted, before)
    assert found.is_empty
    assert "stays so" in found.warnings[0]


def test_what_is_off_can_be_brought_back_by_saying_so() -> None:
    found = drawn(
        "people: [{email: a@b.co, active: true}]\nconnectors: [{name: c, url: http://a/, enabled: true}]",
        "people: [{email: a@b.co, active: false}]\nconnectors: [{name: c, url: http://a/, enabled: false}]",
    )
    assert [dump_entry(step.after) for step in found.steps if step.after] == [
        {"email": "a@b.co"},
        {"name": "c", "url": "http://a/"},
    ]


@pytest.mark.parametrize(
    ("wanted", "before", "message"),
    [
        (
            "teams: [{name: support}]\npeople:\n  - {email: a@b.co, teams: [suport]}",
            "",
            "org.yaml:4: people[0].teams: there is no team 'suport'; did you mean 'support'?",
        ),
        ("agents: [{name: x, owner: a@b.co}]", "", "agents[0].owner: there is no person 'a@b.co'"),
        ("bundles: [{name: b, tools: [{connector: c}]}]", "", "there is no connector 'c'"),
        (
            "policies: [{name: p, rules: [{effect: ask, approvers: {team: t}}]}]",
            "",
            "policies[0].rules[0].approvers: there is no team 't'",
        ),
        ("teams: [{name: a, parent: b}, {name: b, parent: a}]", "", "goes in a circle: a -> b -> a"),
        ("bundles: [{name: a, inherits: [a]}]", "", "goes in a circle: a -> a"),
        (
            "agents: [{name: x, owner: a@b.co, status: live}]",
            "people: [{email: a@b.co}]\nagents: [{name: x, owner: a@b.co, status: retired}]",
            "a retired agent stays retired",
        ),
        ("agents: [{name: x, owner: a@b.co}]", "people: [{email: a@b.co, active: false}]", "is deactivated"),
        (
            "notifications: [{name: n, kind: slack, target: C1, secret: s}]",
            "secrets: [{name: s}]\nconnectors: [{name: c, url: http://a/, secret: s}]",
            "notifications[0].secret: a connector shows s to its system",
        ),
        (
            "notifications: [{name: n, kind: slack, target: C1, secret: s}]",
            "secrets: [{name: s, kind: basic}]",
            "s is of kind basic",
        ),
        (
            "people: [{email: a@b.co, same_as: c@d.co}]",
            "people: [{email: c@d.co, same_as: e@f.co}, {email: e@f.co}]",
            "people[0].same_as: c@d.co is no main account: name e@f.co",
        ),
        ("policies: [{name: p, rules: [{effect: ask, approvers: {people: [x@y.co]}}]}]", "", "no person 'x@y.co'"),
    ],
)
def test_refused_by_a_rule(wanted: str, before: str, message: str) -> None:
    assert message in refusal(wanted, before)


def test_what_is_still_used_is_not_pruned() -> None:
    before = "policies: [{name: p}]\nbundles: [{name: b, policies: [p]}]"
    assert "stored already: b: policies: policy p is still used here" in refusal("policies: []", before, prune=True)


def test_an_agent_whose_owner_left_is_no_obstacle_while_it_stays_suspended() -> None:
    before = "people: [{email: a@b.co, active: false}]\nagents: [{name: x, owner: a@b.co, status: suspended}]"
    assert drawn("agents: [{name: x, owner: a@b.co}]", before).is_empty


# -- rules against tools

DESK = """\
connectors: [{name: helpdesk, url: http://a/}]
bundles:
  - {name: support, policies: [p], tools: [{connector: helpdesk}]}
policies:
  - name: p
    rules:
      - RULE
"""


def judged(rule: str, *, text: str = DESK, before: str = "", known: object = TOOLS) -> Plan:
    return checked(drawn(text.replace("RULE", rule), before), tools=known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("{effect: deny, tools: [billing_refnd]}", "no tool that the policy is used for is called billing_refnd"),
        ("{effect: deny, tools: [billing_refund], when: args.amont > 1}", "Did you mean amount?"),
        ("{effect: deny, tools: [kb_search], when: args.query > 1}", "cannot be applied"),
        ("{effect: deny, when: 'false'}", "the condition 'false' is never true"),
        ("{effect: deny, when: 'args.amount > 1 && 1 > 2'}", "is never true"),
    ],
)
def test_a_rule_that_can_never_match_is_refused_with_the_reason(rule: str, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        judged(rule)
    assert str(caught.value).startswith("org.yaml:8: policies[0].rules[0].")
    assert ": this rule can never match: " in str(caught.value)
    assert reason in str(caught.value)


def test_a_rule_that_can_match_is_silent() -> None:
    found = judged("{effect: deny, tools: [billing_refund], when: args.amount > 100}")
    assert found.warnings == ()
    assert not any(found.unchecked.values())


def test_tools_where_the_condition_cannot_be_decided_are_named() -> None:
    (warning,) = judged("{effect: deny, when: args.amount > 100}").warnings
    assert "for helpdesk/kb_search the condition cannot be decided and the rule always counts (deny)" in warning
    _, warning = judged("{effect: permit, when: args.amount > 100}").warnings
    assert "the rule never permits" in warning


@pytest.mark.parametrize(
    "text",
    [
        DESK.replace("policies: [p], ", "") + "organization: {name: X, policies: [p]}\n",
        DESK.replace("policies: [p], ", "inherits: [base], ").replace(
            "policies:\n  - name", "  - {name: base, policies: [p]}\npolicies:\n  - name"
        ),
    ],
    ids=["organisation-wide", "inherited"],
)
def test_where_it_binds_widely_it_is_only_warned_of(text: str) -> None:
    (warning,) = judged("{effect: deny, tools: [no_such_tool]}", text=text).warnings
    assert "policy p, rule 1: can never match" in warning


def test_while_the_tools_are_unknown_a_rule_is_stored_unchecked() -> None:
    found = judged("{effect: deny, tools: [billing_refund], when: args.amont > 1}", known={})
    assert found.unchecked == {"p": frozenset({0})}
    assert "not checked: the tools of helpdesk are not known yet" in found.warnings[0]


def test_a_rule_may_be_about_the_one_upstream_that_is_silent() -> None:
    text = DESK.replace("tools: [{connector: helpdesk}]", "tools: [{connector: helpdesk}, {connector: mail}]")
    text = text.replace("http://a/}", "http://a/}, {name: mail, url: http://b/}")
    found = judged("{effect: deny, tools: [mail_send], when: args.to == 'x'}", text=text)
    assert found.unchecked == {"p": frozenset({0})}


def test_a_bundle_that_changes_is_checked_with_the_policies_it_uses() -> None:
    before = DESK.replace("RULE", "{effect: deny, tools: [billing_refund]}")
    narrowed = "bundles: [{name: support, policies: [p], tools: [{connector: helpdesk, allow: [kb_search]}]}]"
    with pytest.raises(Refused, match=r"stored already: p: .*billing_refund"):
        judged("", text=narrowed, before=before)


def test_globs_that_select_nothing_are_told() -> None:
    text = DESK.replace("{connector: helpdesk}", "{connector: helpdesk, allow: ['*', tickt_*]}")
    (warning,) = judged("{effect: deny}", text=text).warnings
    assert warning == "bundle support: helpdesk has no tool called tickt_*"


@pytest.mark.parametrize(
    ("wanted", "before", "seconds"),
    [
        ("", None, 60),
        ("", "", 60),
        ("", ", timeout_seconds: 30", 30),
        (", timeout_seconds: 5", ", timeout_seconds: 30", 5),
    ],
)
def test_a_connector_keeps_its_time_unless_the_file_says_another(
    wanted: str, before: str | None, seconds: float
) -> None:
    connector = "connectors: [{{name: c, url: http://a/{}}}]\n"
    there = connector.format(before or ", timeout_seconds: 60") if before is not None else ""
    found = drawn(connector.format(wanted), there)
    assert found.after["connectors"]["c"].timeout_seconds == seconds
    assert bool(found.steps) is (before is None or wanted != "")


def test_a_limit_that_the_file_leaves_out_goes_with_prune() -> None:
    before = "limits: [{name: a, requests: 1}, {name: b, running: 2}]"
    assert actions(drawn("limits: [{name: b, running: 3}]", before, prune=True)) == [
        "update limits/b",
        "remove limits/a",
    ]


def test_what_a_bundle_selects_needs_its_connector() -> None:
    assert "resources: there is no connector 'c'" in refusal("bundles: [{name: b, resources: [{connector: c}]}]")


def test_a_rule_may_name_resources_and_prompts_that_nobody_can_list() -> None:
    assert judged("{effect: deny, tools: ['resource:file:///salaries/*', 'prompt:x']}").steps
