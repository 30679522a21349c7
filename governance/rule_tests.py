"""Test cases of a policy: a call, and what its rules must say of it before they can be published.

They are weighed by `governance.decision` itself, over one agent that holds one tool under this policy alone. What
inspection would find is part of the case. Nothing is read from the database.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from governance.decision import AccessRequest, Decision, Effect, RuleTrace, decide
from governance.manifest.reader import BadManifest
from governance.manifest.rule_entries import CaseEntry, read_case
from governance.models import Policy, PolicyVersion
from governance.models import Rule as RuleRow
from governance.networks import Networks, parse_networks
from governance.rule_texts import RuleText, ToolText
from governance.snapshot import Agent, Bundle, Connector, Person, Role, Rule, Snapshot, Tool
from governance.snapshot_builder import EMPTY
from governance.snapshot_rows.ruling import rule_of
from governance.time_of_day import Calendar

MONDAY_NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
"""When a case happens that does not say it."""
INSIDE, OUTSIDE = "192.0.2.1", "203.0.113.1"
"""An address of the network that a case names, and of one that names none."""
NOBODY = "somebody@example.com"


class TestCaseError(ValueError):
    """`position` of the test, from 1, and the member that will not do."""

    def __init__(self, position: int, field: str, message: str) -> None:
        super().__init__(message)
        self.position = position
        self.field = field


@dataclass(frozen=True, slots=True)
class TestResult:
    name: str
    passed: bool
    expected: str
    got: str
    why: str

    @property
    def sentence(self) -> str:
        """For whoever may not publish because of it."""
        return f"Test “{self.name}” expects {self.expected}, but the rules say {self.got}: {self.why}"


def run_tests(
    rules: Sequence[RuleText],
    tests: Iterable[Mapping[str, Any]],
    tools: Iterable[ToolText],
    *,
    calendar: Calendar | None = None,
) -> list[TestResult]:
    """Of the policy's rules alone, above the permit that holding a tool is. `calendar` is the organisation's. Raises
    TestCaseError, and ConditionError for a rule that has not been checked."""
    rows = _rows(rules)
    known = list(tools)
    results = []
    for position, plain in enumerate(tests, start=1):
        case = _case(position, plain)
        tool = _tool(position, case, known)
        results.append(_result(position, case, _decided(rows, case, tool, calendar or Calendar())))
    return results


def _case(position: int, plain: Mapping[str, Any]) -> CaseEntry:
    try:
        return read_case(plain)
    except BadManifest as bad:
        fault = bad.faults[0]
        raise TestCaseError(position, fault.path.removeprefix("test").lstrip("."), fault.message) from None


def _tool(position: int, case: CaseEntry, known: Iterable[ToolText]) -> ToolText:
    """One that is not known (yet) is taken for one of which nobody has said anything."""
    found = [tool for tool in known if tool.name == case.tool and case.connector in ("", tool.connector)]
    if len(found) > 1:
        names = ", ".join(sorted(tool.connector for tool in found))
        raise TestCaseError(position, "connector", f"{names} each have a tool {case.tool}: say which is meant")
    return found[0] if found else ToolText(case.connector or "unknown", case.tool, {})


def _rows(rules: Sequence[RuleText]) -> list[RuleRow]:
    """Not stored: to be compiled just as stored ones are."""
    version = PolicyVersion(policy=Policy(name="policy"), number=1)
    return [
        RuleRow(
            version=version,
            position=position,
            effect=rule.effect,
            tools=list(rule.tools),
            connectors=list(rule.connectors),
            data_classes=list(rule.data_classes),
            risks=list(rule.risks),
            access=rule.access,
            on=rule.on,
            condition=rule.when,
            findings=list(rule.findings),
            on_failure=rule.on_failure,
            fields=list(rule.fields),
            reversible=rule.reversible,
            keep_last=rule.keep_last,
            approvers=rule.approvers,
            reason=rule.reason,
        )
        for position, rule in enumerate(rules, start=1)
    ]


def _decided(rows: Iterable[RuleRow], case: CaseEntry, text: ToolText, calendar: Calendar) -> Decision:
    tool = _compiled_tool(text)
    rules = tuple(_met(rows, case))
    snapshot = _snapshot(case, tool, rules, calendar)
    request = AccessRequest(
        "agent",
        "",
        tool.id,
        "bundle",
        case.args or {},
        source_ip=_address(case.network),
        target=tool,
        labels=frozenset(case.labels),
    )
    return decide(request, snapshot, case.time or MONDAY_NOON)


def _met(rows: Iterable[RuleRow], case: CaseEntry) -> Iterator[Rule]:
    """The rules that take part: of those that wait for content, the ones whose findings the case has."""
    for row in rows:
        rule = rule_of(row)
        if not rule.reads_content:
            yield rule
        elif not row.findings or not set(row.findings).isdisjoint(case.findings):
            yield replace(rule, reads_content=False)


def _snapshot(case: CaseEntry, tool: Tool, rules: tuple[Rule, ...], calendar: Calendar) -> Snapshot:
    person = _person(case)
    role = Role("role", "role", frozenset({"bundle"}), None, None, {})
    variables = {"name": case.agent, "title": "", "purpose": "", "owner": person.email}
    agent = Agent("agent", case.agent, "live", person, (role,), variables)
    bundle = Bundle(
        "bundle",
        "bundle",
        "",
        "version",
        1,
        True,
        {tool.name: tool},
        {},
        frozenset({tool.id}),
        rules,
        frozenset(),
    )
    return replace(
        EMPTY,
        calendar=calendar,
        agents={"agent": agent},
        people={person.id: person},
        tools={tool.id: tool},
        bundles={"bundle": bundle},
        networks=_networks(case.network),
    )


def _person(case: CaseEntry) -> Person:
    email = case.person or NOBODY
    variables = {"email": email, "name": "", "staff": False, "teams": list(case.teams), "attributes": {}}
    return Person("person", email, "", True, False, (), variables)


def _compiled_tool(text: ToolText) -> Tool:
    connector = Connector("connector", text.connector, "mcp", (), 60, True, None, False, "")
    variables = {
        "name": text.name,
        "connector": text.connector,
        "risk": text.risk,
        "read_only": text.is_read_only,
        "data_classes": sorted(text.data_classes),
        "environment": text.environment,
        "untrusted": text.is_untrusted,
        "egress": text.is_egress,
        "undo": "",
    }
    return Tool("tool", text.name, connector, "", {}, variables)


def _address(network: str) -> str:
    if not network:
        return OUTSIDE
    return network if _is_address(network) else INSIDE


def _networks(network: str) -> Networks:
    """The one that the case is in; an address is in none by name."""
    return parse_networks({network: [INSIDE]} if network and not _is_address(network) else {})


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


# -- what came out


def _result(position: int, case: CaseEntry, decision: Decision) -> TestResult:
    got = _effect(decision)
    deciding = [trace for trace in decision.rules if trace.effect == got]
    is_right_rule = case.rule is None or any(trace.position == case.rule for trace in deciding)
    name = case.name or f"{position}: {case.tool}"
    expected = case.expect + (f" by rule {case.rule}" if case.rule is not None else "")
    return TestResult(name, got == case.expect and is_right_rule, expected, got, _why(decision, deciding))


def _effect(decision: Decision) -> str:
    """Of what is permitted, whether something is masked, or else flagged."""
    if decision.effect is not Effect.PERMIT:
        return str(decision.effect)
    effects = {trace.effect for trace in decision.rules}
    return next((effect for effect in ("mask", "flag") if effect in effects), "permit")


def _why(decision: Decision, deciding: Sequence[RuleTrace]) -> str:
    if not decision.rules:
        return "no rule matches."
    return "; ".join(map(_told, deciding or decision.rules)) + "."


def _told(trace: RuleTrace) -> str:
    undecided = ", which could not be decided" if trace.outcome == "undecided" else ""
    reason = f" ({trace.reason.rstrip('.')})" if trace.reason else ""
    return f"rule {trace.position} matches{undecided}{reason}"
