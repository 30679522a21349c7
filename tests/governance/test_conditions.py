"""CEL conditions: what is refused on save, what a tool's schema refutes, what evaluation says and costs."""

import resource
import sys
import time
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.conditions import (
    Condition,
    ConditionError,
    Verdict,
    check_against,
    compile_condition,
    is_never_true,
)

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=ZoneInfo("America/New_York"))
REFUND = {
    "type": "object",
    "properties": {
        "amount": {"type": "number"},
        "count": {"type": "integer"},
        "currency": {"type": "string", "enum": ["EUR", "USD"]},
        "note": {"type": ["string", "null"]},
        "to": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "urgent": {"type": "boolean"},
        "labels": {"type": "array", "items": {"type": "string"}},
        "sizes": {"type": "array", "items": {"type": "number"}},
        "lines": {"type": "array", "items": {"type": "object", "properties": {"price": {"type": "number"}}}},
        "customer": {"type": "object", "properties": {"id": {"type": "string"}, "vip": {"type": "boolean"}}},
        "extra": {"type": "object", "additionalProperties": True, "properties": {"a": {"type": "string"}}},
        "anything": True,
        "x-trace": {"type": "string"},
    },
    "required": ["amount"],
}


def variables(**args: Any) -> dict[str, Any]:
    return {
        "agent": {"name": "triage-bot", "owner": "ana@example.com", "title": "Triage", "purpose": "Sorts"},
        "person": {"email": "ana@example.com", "name": "Ana Lima", "teams": ["support"], "staff": False},
        "tool": {
            "name": "billing_refund",
            "connector": "helpdesk",
            "risk": "high",
            "data_classes": ["finance"],
            "read_only": False,
        },
        "args": args,
        "session": {"id": "s1", "labels": ["customer-data"]},
        "time": {
            "now": NOON,
            "hour": 12,
            "minute": 0,
            "weekday": "fri",
            "date": "2026-11-20",
            "businessHours": True,
        },
        "network": {"source_ip": "192.0.2.7"},
        "findings": [{"kind": "secret", "severity": "high", "rule": "github-pat"}],
    }


def verdict(source: str, **args: Any) -> Verdict:
    return compile_condition(source).evaluate(variables(**args))


def problems(source: str) -> list[tuple[str, str]]:
    compile_condition(source)
    found = check_against(source, schemas={"billing_refund": REFUND})
    assert {problem.tool for problem in found} <= {"billing_refund"}
    return [(problem.code, problem.message) for problem in found]


@pytest.mark.parametrize(
    ("source", "args"),
    [
        ("args.amount > 100", {"amount": 150}),
        ("args.amount > 100", {"amount": 150.5}),
        ("args.amount == 100", {"amount": 100}),
        ("args.amount == 100", {"amount": 100.0}),
        ("args.amount > 100", {"amount": 2**64 - 1}),
        ("args.n == null", {"n": None}),
        ('args["x-trace"] == "a"', {"x-trace": "a"}),
        ("has(args.note) && size(args.note) == 2", {"note": "ok"}),
        ("!has(args.note)", {}),
        ("args.urgent", {"urgent": True}),
        ('args.labels.exists(l, l.startsWith("a"))', {"labels": ["b", "ab"]}),
        ('agent.name == "triage-bot" && agent.owner == person.email', {}),
        ('"support" in person.teams && !person.staff', {}),
        ('tool.connector == "helpdesk" && tool.risk == "high" && "finance" in tool.data_classes', {}),
        ('"customer-data" in session.labels && session.id != ""', {}),
        ('time.businessHours && time.weekday == "fri" && time.hour == 12 && time.date == "2026-11-20"', {}),
        ('time.now == timestamp("2026-11-20T17:00:00Z")', {}),
        ('time.now.getHours("America/New_York") == time.hour', {}),
        ('network.source_ip.startsWith("192.0.2.")', {}),
        ('findings.exists(f, f.kind == "secret" && f.severity == "high")', {}),
        ("args.missing == 1 || true", {}),
    ],
)
def test_a_condition_holds(source: str, args: dict[str, Any]) -> None:
    assert verdict(source, **args) is Verdict.TRUE


@pytest.mark.parametrize(
    ("source", "args"),
    [
        ("args.amount > 100", {}),
        ("args.amount > 100", {"amount": "200"}),
        ("args.amount > 100", {"amount": None}),
        ("args.amount + 9223372036854775807 > 0", {"amount": 1}),
        ("args.amount / 0 > 1", {"amount": 1}),
        ("args.urgent", {"urgent": "yes"}),
        ("args.l[5] == 1", {"l": [1]}),
        ("timestamp(args.when) > time.now", {"when": "not a time"}),
        ('"a".matches(args.pattern)', {"pattern": "("}),
        ('args.text == "a"', {"text": "\ud800"}),
    ],
)
def test_what_cannot_be_evaluated_is_undecided(source: str, args: dict[str, Any]) -> None:
    assert verdict(source, **args) is Verdict.UNDECIDED


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("args.amount >", "Line 1, column 14: Syntax error"),
        ("true &&\n  foo == 1", "Line 2, column 3: foo is not known here"),
        ("time.hours > 3", r"time\.hours is not known here\. Did you mean time\.hour\?"),
        ("agent.nmae == 'a'", r"Did you mean agent\.name\?"),
        ("agent == 'a'", "agent is not known here"),
        ("time.hour > 'a'", r"> cannot be applied to \(int, string\)"),
        ("args.amount + 1", "Syntax error|must be true or false"),
        ("'yes'", "must be true or false; this is of type STRING"),
        ("", "Syntax error"),
        ("\ud800", "valid Unicode"),
        ("true" + " " * 4096, "at most 4096 bytes"),
        ("(" * 2000 + "true" + ")" * 2000, "recursion limit"),
        ("args.x.frobnicate()", "frobnicate is not known here"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(source: str, message: str) -> None:
    with pytest.raises(ConditionError, match=message):
        compile_condition(source)


@pytest.mark.parametrize(
    "source",
    [
        "args.amount > 100",
        "args.amount > 100.5 && args.amount != args.count",
        "args.count >= 1.5",
        "args.amount in [1, 2]",
        "100 in args.sizes || args.sizes.all(s, s < 4)",
        "double(args.amount) * 1.2 > 100.0",
        "(args.urgent ? args.amount : 0) > 3",
        "-args.amount < 0",
        'args.currency == "EUR"',
        'args.currency.matches("^E")',
        "args.note == null || size(args.note) > 3",
        'args.to == "a" || "a" in args.to',
        "args.urgent && !has(args.note)",
        "has(args.currency) && has(args.customer.id)",
        'args.labels.exists(l, l == "x")',
        "args.lines.exists(line, line.price > 100)",
        'args.customer.id.startsWith("c") && args.customer.vip',
        'args.extra.a == "x" && args.extra.unlisted == 3',
        "args.anything.goes == 1",
        'args["x-trace"] == "a"',
        'agent.title == "args.nothing is here" // args.neither',
        'r"\\d" == "x" || agent.name == "args.no"',
    ],
)
def test_a_schema_raises_no_objection(source: str) -> None:
    assert problems(source) == []


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [
        ("args.amont > 100", "unknown_argument", "args has no amont. Did you mean amount?"),
        ("has(args.amont)", "unknown_argument", "args has no amont. Did you mean amount?"),
        ("args.zzz.size() > 1", "unknown_argument", "args has no zzz."),
        ("args . customer . nam == ''", "unknown_argument", "args.customer has no nam."),
        ("args.currency > 1", "type_mismatch", "> cannot be applied to (string, int)."),
        ("args.amount == 'x'", "type_mismatch", "== cannot be applied to (number, string)."),
        ("args.amount in ['x']", "type_mismatch", "in cannot be applied to (number, list(string))."),
        ("args.urgent == 'yes'", "type_mismatch", "== cannot be applied to (bool, string)."),
        ("args.labels.exists(l, l == 1)", "type_mismatch", "== cannot be applied to (string, int)."),
        ("args.customer.id == 3", "type_mismatch", "== cannot be applied to (string, int)."),
        ("args.amount * 2 > 3", "type_mismatch", "* cannot be applied to (number, int)."),
        ("args.count * 1.5 > 3.0", "type_mismatch", "* cannot be applied to (int, double)."),
        ("args.currency.code == 'E'", "type_mismatch", "cannot be the operand of a select"),
        ("args.amount > 1 && args.currency > 1", "type_mismatch", "> cannot be applied to (string, int)."),
    ],
)
def test_a_schema_refutes(source: str, code: str, message: str) -> None:
    [(found, text)] = problems(source)
    assert found == code
    assert message in text


def test_problems_name_the_tool_they_are_about() -> None:
    schemas = {
        "refund": REFUND,
        "search": {"type": "object", "properties": {"query": {"type": "string"}}},
        "any": {},
    }
    found = check_against("args.amount > 1", schemas=schemas)
    assert [(problem.tool, problem.code) for problem in found] == [("search", "unknown_argument")]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "properties", "items", "anyOf", "a", "additionalProperties"]), inner
            )
        ),
        max_leaves=12,
    )
)
def test_a_hostile_schema_never_breaks_the_check(schema: Any) -> None:
    check_against("args.a > 1 && args.a.b == 'x'", schemas={"t": {"properties": {"a": schema}}, "u": {"a": schema}})


@pytest.mark.parametrize("source", ["false", "1 > 2", "false && args.x > 1", "args.x > 1 && 'a' == 'b'"])
def test_a_condition_that_is_never_true_is_recognised(source: str) -> None:
    assert is_never_true(source)


@pytest.mark.parametrize("source", ["true", "args.x > 1", "has(args.x)", "time.hour == 25"])
def test_a_condition_that_might_be_true_is_not_called_never_true(source: str) -> None:
    assert not is_never_true(source)


@pytest.mark.parametrize(
    "source",
    [
        "args.l.exists(x, args.l.exists(y, x + y == -1))",
        "args.l.all(x, args.l.all(y, args.l.all(z, x + y + z >= 0)))",
        "args.l.all(x, args.l.map(y, args.l).size() > 0)",
    ],
)
def test_nested_loops_over_two_thousand_elements_stop_quickly(source: str) -> None:
    condition = compile_condition(source)
    started = time.process_time()
    assert condition.evaluate(variables(l=list(range(2000)))) is Verdict.UNDECIDED
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    "source",
    [
        "args.l.map(x, args.s + args.s).size() == 2000",
        "args.l.all(x, args.s.size() > 0)",
        "args.l.all(x, args.l.size() > 0 && args.l2.exists(y, true))",
        'args.l . all (x, !args.s.matches("(a+a+)+b"))',
    ],
)
def test_a_loop_over_long_strings_is_refused_before_it_starts(source: str) -> None:
    condition = compile_condition(source)
    started = time.process_time()
    assert (
        condition.evaluate(variables(l=list(range(2000)), l2=list(range(9000)), s="a" * 1_000_000)) is Verdict.UNDECIDED
    )
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    "source",
    [
        "args.s.matches(args.pattern)",
        "matches(args.s, args.pattern)",
        "args.s.matches('' + args.pattern)",
        "'.matches(\"x\")' == args.s || args.s . matches (args.pattern)",
    ],
)
def test_a_long_pattern_that_comes_with_the_call_is_refused_before_it_starts(source: str) -> None:
    """Half a megabyte of both would take minutes."""
    condition = compile_condition(source)
    started = time.process_time()
    assert condition.evaluate(variables(s="a" * 500_000, pattern="a" * 500_000)) is Verdict.UNDECIDED
    assert time.process_time() - started < 0.5
    assert condition.evaluate(variables(s="INC12", pattern="INC[0-9]+")) is Verdict.TRUE
    assert compile_condition("args.s.matches('b')").evaluate(variables(s="a" * 500_000)) is Verdict.FALSE


def test_ordinary_loops_are_decided() -> None:
    many = [f"person{n}@example.com" for n in range(2000)]
    assert verdict('args.to.exists(t, t.endsWith("@rival.example"))', to=many) is Verdict.FALSE
    words = '["alpha", "beta"].exists(w, args.body.contains(w))'
    assert verdict(words, body="x" * 1_000_000 + "beta") is Verdict.TRUE


@pytest.mark.parametrize("source", ["args.timeout > 5", 'args.text == "time"', "args.timeout > 5 // no time to lose"])
def test_a_word_that_is_not_the_variable_needs_no_time(source: str) -> None:
    """The decision hands the time out only to rules that name it."""
    assert compile_condition(source).evaluate({"args": {"timeout": 9, "text": "time"}}) is Verdict.TRUE


def test_a_variable_that_is_missing_leaves_it_undecided() -> None:
    assert compile_condition("time.hour > 3").evaluate({"args": {}}) is Verdict.UNDECIDED


def test_what_a_session_came_to_is_no_answer_for_another() -> None:
    flagged = compile_condition('"flagged" in session.labels && session.id != "x"')
    sessions: list[tuple[dict[str, Any], Verdict]] = [
        ({"id": "", "labels": ["flagged"]}, Verdict.TRUE),
        ({"id": "x", "labels": ["flagged"]}, Verdict.FALSE),
        ({"id": "", "labels": ["flagged', 'more"]}, Verdict.FALSE),
        ({"id": ""}, Verdict.UNDECIDED),
        ({"id": "\ud800", "labels": ["flagged"]}, Verdict.UNDECIDED),
        ({"id": "x\0", "labels": ["flagged"]}, Verdict.UNDECIDED),
        ({"id": "y" * 10_000, "labels": ["flagged"]}, Verdict.TRUE),
    ]
    for _ in range(2):
        assert [flagged.evaluate({"session": session}) for session, _ in sessions] == [told for _, told in sessions]


def test_a_condition_is_compiled_once() -> None:
    assert compile_condition("args.once > 1") is compile_condition("args.once > 1")


def test_evaluating_does_not_leak() -> None:
    conditions = [compile_condition(s) for s in ("args.amount > 100", "args.gone", "time.hour > 3", "args.l.all(x, x)")]
    _evaluate_often(conditions, rounds=5_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _evaluate_often(conditions, rounds=25_000)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4096


def _evaluate_often(conditions: list[Condition], *, rounds: int) -> None:
    facts = variables(amount=150, l=[True, False])
    for _ in range(rounds):
        for condition in conditions:
            condition.evaluate(facts)


def test_the_instant_of_now_does_not_depend_on_the_zone() -> None:
    facts = variables()
    facts["time"]["now"] = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)
    same = compile_condition('time.now == timestamp("2026-11-20T17:00:00Z")')
    assert same.evaluate(facts) is same.evaluate(variables()) is Verdict.TRUE


def test_no_call_takes_references_to_none_away() -> None:
    """The library hands out a null without a reference of its own: thousands of such calls would end the process."""
    condition = compile_condition("args.urgent")
    before = sys.getrefcount(None)
    for _ in range(5_000):
        assert condition.evaluate({"args": {"urgent": None}}) is Verdict.UNDECIDED
    assert sys.getrefcount(None) > before - 1_000
