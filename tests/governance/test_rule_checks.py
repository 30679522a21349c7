"""What is said of rules that could never do anything. Each code is seen, and seen to stay away."""

import time

import pytest

from governance.rule_checks import RuleFault, Severity, check_bundle_version, check_policy, check_scopes
from governance.rule_texts import BundleText, RuleText, Scope, Selection, TeamText, ToolText, World

AMOUNT = {"type": "object", "properties": {"amount": {"type": "number"}, "note": {"type": "string"}}}
QUERY = {"type": "object", "properties": {"query": {"type": "string"}}}
REFUND = ToolText("helpdesk", "billing_refund", AMOUNT, risk="high", data_classes=frozenset({"finance"}))
SEARCH = ToolText("helpdesk", "kb_search", QUERY, risk="low", is_read_only=True)
DENY = RuleText("deny")
ASK = RuleText("ask")


def world(**policies: tuple[RuleText, ...]) -> World:
    """Every policy is on the bundle."""
    return World(
        policies=policies,
        bundles={"support": BundleText("support", (), tuple(policies), (Selection("helpdesk", ("*",)),))},
        teams={},
        organization=frozenset(),
        tools={"helpdesk": {"billing_refund": REFUND, "kb_search": SEARCH}},
    )


def faults(*rules: RuleText, **others: tuple[RuleText, ...]) -> list[RuleFault]:
    return check_policy("p", rules=rules, world=world(p=rules, **others))


def codes(*rules: RuleText, **others: tuple[RuleText, ...]) -> list[tuple[int, str]]:
    return [(fault.position, fault.code) for fault in faults(*rules, **others)]


@pytest.mark.parametrize(
    ("rule", "code", "severity", "field"),
    [
        (RuleText("deny", when="args.amount >"), "condition_invalid", "refuse", "when"),
        (RuleText("deny", when="false"), "never_true", "refuse", "when"),
        (RuleText("deny", tools=("nothing",)), "no_tool", "refuse", "tools"),
        (RuleText("deny", connectors=("mail",)), "no_tool", "refuse", "tools"),
        (RuleText("deny", data_classes=("health",)), "no_tool", "refuse", "tools"),
        (RuleText("deny", tools=("kb_*",), risks=("high",)), "no_tool", "refuse", "tools"),
        (RuleText("deny", tools=("kb_*",), access="write"), "no_tool", "refuse", "tools"),
        (RuleText("deny", when="args.amuont > 1"), "unknown_argument", "refuse", "when"),
        (RuleText("deny", tools=("kb_*",), when="args.query > 1"), "type_mismatch", "refuse", "when"),
        (RuleText("deny", when="args.amount > 1"), "undecidable", "warn", "when"),
        (RuleText("mask", on="result"), "masks_nothing", "refuse", "findings"),
        (RuleText("mask", fields=("*.iban",)), "fields_ignored", "refuse", "fields"),
        (RuleText("deny", on="result", fields=("*.iban",)), "fields_ignored", "refuse", "fields"),
        (RuleText("ask", on="result"), "asks_too_late", "refuse", "on"),
        (RuleText("deny", findings=("untrusted_link",)), "never_found", "refuse", "findings"),
        (RuleText("deny", on="result", findings=("untrusted_destination",)), "never_found", "refuse", "findings"),
        (RuleText("restore", on="result", findings=("secret",)), "restores_in_result", "refuse", "on"),
        (RuleText("restore"), "restores_nothing", "refuse", "findings"),
        (RuleText("restore", findings=("secret", "injection")), "never_back", "refuse", "findings"),
        (RuleText("restore", findings=("secret",)), "restores_everywhere", "warn", "tools"),
        (RuleText("deny", findings=("secret",), reversible=True), "tokens_ignored", "refuse", "reversible"),
        (RuleText("mask", findings=("secret",), reversible=True), "tokens_ignored", "refuse", "reversible"),
        (
            RuleText("mask", on="result", findings=("injection",), reversible=True),
            "tokens_ignored",
            "refuse",
            "reversible",
        ),
        (RuleText("mask", on="result", fields=("*.iban",), reversible=True), "tokens_ignored", "refuse", "reversible"),
        (RuleText("mask", on="result", findings=("secret",), keep_last=4), "keep_last_ignored", "refuse", "keep_last"),
        (RuleText("permit"), "permit_changes_nothing", "warn", "effect"),
        (RuleText("deny", approvers={"team": "t"}), "approvers_ignored", "refuse", "approvers"),
        (RuleText("ask", approvers={"cuont": 2}), "terms_invalid", "refuse", "approvers.cuont"),
        (
            RuleText("deny", on="result", when="findings.exists(found, found.kind == 'secret')"),
            "findings_unknown",
            "warn",
            "when",
        ),
    ],
)
def test_a_rule_that_does_nothing_is_told_why(rule: RuleText, code: str, severity: str, field: str) -> None:
    found = {fault.code: fault for fault in faults(rule)}
    assert code in found
    assert (found[code].severity, found[code].field) == (severity, field)
    assert found[code].position == 1


@pytest.mark.parametrize(
    "rule",
    [
        DENY,
        RuleText("deny", tools=("billing_refund",), when="args.amount > 100"),
        RuleText("deny", connectors=("help*",), data_classes=("finance", "health"), risks=("high",), access="write"),
        RuleText("mask", on="result", fields=("*.iban",)),
        RuleText("flag", tools=("billing_refund",), when="args.amount > 100"),
        RuleText("ask", approvers={"team": "leads", "count": 2}),
        RuleText("deny", tools=("resource:file:///secret/*",)),
    ],
)
def test_a_rule_that_does_something_is_left_in_peace(rule: RuleText) -> None:
    assert faults(rule) == []


def test_where_tools_are_unknown_nothing_is_certain() -> None:
    rules = (RuleText("deny", tools=("mail_send",), when="args.to == 'x'"),)
    bundle = BundleText("support", (), ("p",), (Selection("helpdesk", ("*",)), Selection("mail", ("*",))))
    found = check_policy("p", rules=rules, world=world(p=rules).with_bundle(bundle))
    assert [(fault.code, fault.severity) for fault in found] == [("not_checked", Severity.WARN)]


def test_a_policy_for_everybody_is_only_warned() -> None:
    rules = (RuleText("deny", tools=("nothing",)),)
    known = world(p=rules)
    wide = World(known.policies, known.bundles, {}, frozenset({"p"}), known.tools)
    assert [fault.severity for fault in check_policy("p", rules=rules, world=wide)] == [Severity.WARN]


# -- shadows


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        (DENY, RuleText("ask", tools=("kb_search",))),
        (DENY, RuleText("deny", when="time.hour > 18")),
        (DENY, RuleText("mask", on="result", fields=("*",))),
        (RuleText("deny", tools=("kb_*",)), RuleText("ask", tools=("kb_search", "kb_s*"))),
        (RuleText("deny", risks=("high", "low")), RuleText("ask", risks=("high",))),
        (RuleText("deny", connectors=("help*",)), RuleText("ask", connectors=("helpdesk",))),
        (RuleText("deny", when="time.hour > 18"), RuleText("ask", when="time.hour > 18")),
        (ASK, RuleText("ask", when="time.hour > 18")),
        (RuleText("ask", approvers={"count": 2}), RuleText("ask", when="time.hour > 18", approvers={"count": 1})),
        (
            RuleText("ask", approvers={"team": "a", "reason": "required", "step_up": "5m", "pending": "10m"}),
            RuleText("ask", approvers={"team": "a", "step_up": "10m"}),
        ),
        (RuleText("mask", on="result", fields=("*",)), RuleText("mask", on="result", fields=("*.iban",))),
        (RuleText("flag"), RuleText("flag", tools=("kb_search",))),
    ],
)
def test_what_another_rule_always_wins_over_is_shadowed(winner: RuleText, loser: RuleText) -> None:
    for rules, position in (((winner, loser), 2), ((loser, winner), 1)):
        (fault,) = [fault for fault in faults(*rules) if fault.code == "shadowed"]
        assert (fault.position, fault.severity) == (position, Severity.WARN)
        assert f"rule {3 - position} of policy p ({winner.effect}) always wins over it" in fault.message
    (fault,) = [fault for fault in faults(loser, q=(winner,)) if fault.code == "shadowed"]
    assert "rule 1 of policy q" in fault.message


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        (RuleText("deny", when="time.hour > 18"), ASK),
        (RuleText("deny", tools=("kb_*",)), RuleText("ask", tools=("kb_search", "billing_refund"))),
        (RuleText("deny", tools=("kb_searc?",)), RuleText("ask", tools=("kb_searc*",))),
        (RuleText("deny", tools=("*b]",)), RuleText("ask", tools=("[ab]",))),
        (RuleText("deny", risks=("high",)), ASK),
        (RuleText("deny", access="write"), ASK),
        (RuleText("deny", connectors=("helpdesk",)), ASK),
        (RuleText("deny", on="result"), ASK),
        (RuleText("deny", findings=("secret",)), ASK),
        (ASK, RuleText("deny", when="time.hour > 18")),
        (RuleText("ask", approvers={"team": "a"}), RuleText("ask", when="time.hour > 18", approvers={"team": "b"})),
        (RuleText("ask", approvers={"count": 1}), RuleText("ask", when="time.hour > 18", approvers={"count": 2})),
        (RuleText("ask"), RuleText("ask", when="time.hour > 18", approvers={"step_up": "5m"})),
        (RuleText("mask", on="result", fields=("*.iban",)), RuleText("mask", on="result", fields=("*.bic",))),
    ],
)
def test_what_may_still_count_is_not_shadowed(winner: RuleText, loser: RuleText) -> None:
    assert "shadowed" not in [code for position, code in codes(winner, loser) if position == 2]


def test_of_two_equal_rules_the_later_one_is_told() -> None:
    assert codes(ASK, ASK) == [(2, "shadowed")]


def test_a_rule_wins_only_where_it_binds() -> None:
    tools = world().tools
    bundles = {
        name: BundleText(name, inherits, policies, (Selection("helpdesk", ("*",)),))
        for name, inherits, policies in (("a", (), ("p",)), ("b", ("a",), ()), ("c", (), ("q", "r")))
    }
    teams = {"top": TeamText("", ("t",)), "below": TeamText("top", ("u",))}
    policies = dict.fromkeys("pqrtu", (DENY,))

    def shadowed(policy: str, **changes: BundleText) -> bool:
        held = World(policies, {**bundles, **changes}, teams, frozenset(), tools)
        return any(fault.code == "shadowed" for fault in check_policy(policy, rules=(DENY,), world=held))

    assert not shadowed("p")
    assert shadowed("q")
    assert shadowed("u")
    assert not shadowed("t")
    assert shadowed("p", c=BundleText("c", (), ("q",)), a=BundleText("a", (), ("p", "q"), bundles["a"].tools))
    assert not shadowed("p", b=BundleText("b", ("a",), ("q",)))


def test_a_bundle_is_checked_with_the_policies_it_uses() -> None:
    known = world(p=(RuleText("deny", tools=("billing_refund",)),))
    narrowed = BundleText("support", (), ("p",), (Selection("helpdesk", ("kb_*",)),))
    found = check_bundle_version(narrowed, world=known)
    assert [fault.code for fault in found["p"]] == ["no_tool"]


@pytest.mark.parametrize(
    ("scope", "code", "severity"),
    [
        (Scope(("*",), "args.amount <"), "condition_invalid", "refuse"),
        (Scope(("*",), "1 > 2"), "never_true", "refuse"),
        (Scope(("mail_*",), "args.amount < 5"), "no_tool", "refuse"),
        (Scope(("billing_*",), "args.amuont < 5"), "unknown_argument", "refuse"),
        (Scope(("*",), "args.amount < 5"), "undecidable", "warn"),
    ],
)
def test_data_scopes_are_held_against_what_the_role_gives(scope: Scope, code: str, severity: str) -> None:
    (fault,) = check_scopes([scope], bundles=["support"], world=world())
    assert (fault.code, fault.severity) == (code, severity)
    assert check_scopes([Scope(("billing_*",), "args.amount < 5")], bundles=["support"], world=world()) == []


def test_a_policy_among_thousands_of_rules_is_checked_at_once() -> None:
    tools = {f"tool_{number}": ToolText("big", f"tool_{number}", AMOUNT) for number in range(500)}
    names = [f"p{number}" for number in range(250)]
    policies = {
        name: tuple(
            RuleText("deny", tools=(f"tool_{(20 * index + place) % 500}",), when=f"args.amount > {index * 20 + place}")
            for place in range(20)
        )
        for index, name in enumerate(names)
    }
    policies["p0"] = tuple(
        RuleText("ask", tools=("*" if place % 2 else f"tool_{place}*",), when=f"args.amount > {place}")
        for place in range(20)
    )
    bundles = {
        f"b{index}": BundleText(f"b{index}", (), (name,), (Selection("big", ("*",)),))
        for index, name in enumerate(names)
    }
    held = World(policies, bundles, {}, frozenset(), {"big": tools})
    start = time.process_time()
    check_policy("p0", rules=policies["p0"], world=held)
    assert time.process_time() - start < 2, "200 ms when nothing else runs"
