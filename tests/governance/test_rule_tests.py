"""Test cases of a policy: weighed as calls are, with a reason for each answer."""

from typing import Any

import pytest

from governance import rule_tests
from governance.rule_tests import run_tests
from governance.rule_texts import RuleText, ToolText

REFUND = ToolText("helpdesk", "billing_refund", {}, risk="high", is_egress=True, environment="production")
SEARCH = ToolText("helpdesk", "kb_search", {}, risk="low", is_read_only=True, data_classes=frozenset({"customer"}))
RULES = (
    RuleText("ask", tools=("billing_refund",), when="args.amount > 100", reason="Refunds over 100 need a lead."),
    RuleText("deny", when="!time.businessHours", reason="Only in business hours"),
    RuleText("mask", on="result", data_classes=("customer",), fields=("*.iban",)),
    RuleText("deny", access="write", when="'untrusted' in session.labels && tool.egress"),
    RuleText("flag", tools=("billing_refund",), when="agent.name == 'new-bot'"),
    RuleText("deny", findings=("secret",)),
    RuleText("deny", tools=("billing_*",), when="person.email == 'eve@example.com' || 'guests' in person.teams"),
    RuleText("ask", tools=("billing_*",), when="'office' in network.names && tool.environment == 'production'"),
)


def result(**case: Any) -> rule_tests.TestResult:
    (found,) = run_tests(RULES, [case], [REFUND, SEARCH])
    return found


@pytest.mark.parametrize(
    ("case", "expected", "rule"),
    [
        ({"tool": "billing_refund", "args": {"amount": 100}}, "permit", None),
        ({"tool": "billing_refund", "args": {"amount": 101}}, "ask", 1),
        ({"tool": "billing_refund", "args": {"amount": 1}, "time": "2026-01-04T12:00:00Z"}, "deny", 2),
        ({"tool": "kb_search"}, "mask", 3),
        ({"tool": "billing_refund", "args": {"amount": 1}, "labels": ["untrusted"]}, "deny", 4),
        ({"tool": "kb_search", "labels": ["untrusted"]}, "mask", 3),
        ({"tool": "billing_refund", "args": {"amount": 1}, "agent": "new-bot"}, "flag", 5),
        ({"tool": "kb_search", "findings": ["secret"]}, "deny", 6),
        ({"tool": "kb_search", "findings": ["injection"]}, "mask", 3),
        ({"tool": "billing_refund", "args": {"amount": 1}, "person": "EVE@example.com"}, "deny", 7),
        ({"tool": "billing_refund", "args": {"amount": 1}, "teams": ["guests"]}, "deny", 7),
        ({"tool": "billing_refund", "args": {"amount": 1}, "network": "office"}, "ask", 8),
        ({"tool": "billing_refund", "args": {"amount": 1}, "network": "198.51.100.7"}, "permit", None),
        ({"tool": "not_known_yet", "connector": "mail"}, "permit", None),
    ],
)
def test_a_case_is_weighed_as_the_call_would_be(case: dict[str, Any], expected: str, rule: int | None) -> None:
    assert result(**case, expect=expected, **({"rule": rule} if rule else {})).passed
    other = "deny" if expected != "deny" else "permit"
    assert not result(**case, expect=other).passed


def test_who_fails_is_told_what_came_out_and_why() -> None:
    failed = result(name="Small refunds", tool="billing_refund", args={"amount": 150}, expect="permit")
    assert failed.sentence == (
        "Test “Small refunds” expects permit, but the rules say ask: rule 1 matches (Refunds over 100 need a lead)."
    )
    assert "no rule matches" in result(tool="billing_refund", args={"amount": 5}, expect="ask").sentence
    assert "could not be decided" in result(tool="billing_refund", expect="permit").sentence


def test_the_right_answer_by_another_rule_is_not_what_was_expected() -> None:
    failed = result(tool="billing_refund", args={"amount": 101}, expect="ask", rule=8)
    assert (failed.passed, failed.expected, failed.got) == (False, "ask by rule 8", "ask")


@pytest.mark.parametrize(
    ("case", "field"),
    [
        ({"tool": "t"}, ""),
        ({"tool": "t", "expect": "allow"}, "expect"),
        ({"tool": "t", "expect": "deny", "arguments": {}}, "arguments"),
        ({"tool": "t", "expect": "deny", "args": []}, "args"),
        ({"tool": "kb_search", "expect": "deny"}, "connector"),
    ],
)
def test_a_case_that_says_nothing_clear_is_refused(case: dict[str, Any], field: str) -> None:
    twice = [SEARCH, ToolText("wiki", "kb_search", {})]
    with pytest.raises(rule_tests.TestCaseError) as caught:
        run_tests(RULES, [{"tool": "t", "expect": "permit"}, case], twice)
    assert (caught.value.position, caught.value.field) == (2, field)
