"""What a manifest may say of rules, their tests, data scopes and reactions."""

# ruff: noqa: RUF009 (`of` makes dataclass fields, as `field` does)

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn

from governance.approval_terms import DUTIES, KEYS, MOST_HUMANS, TermsError, parse_terms, terms_as_json
from governance.conditions import ConditionError, compile_condition
from governance.inspection.findings import DATA_CLASS, DETECTOR, NAMED, OWN
from governance.inspection.tokens import MOST_SHOWN
from governance.manifest.common import CLOCK, EMAIL, NAME_TEXT, NAMES, TITLE, Entry, Reference
from governance.manifest.content_entries import finding_references
from governance.manifest.fields import Choice, Flag, ListOf, Moment, Number, Record, Schema, Text, nearest, of
from governance.manifest.reader import Node, described, node_of
from governance.rule_checks import RuleFault
from governance.rule_texts import RuleText
from governance.time_of_day import WEEKDAYS

FINDINGS = tuple(sorted(NAMED))


@dataclass(frozen=True, slots=True)
class FindingName:
    """One of FINDINGS, or what an organisation adds to them by name."""

    def read(self, node: Node) -> str:
        if isinstance(node.value, str) and re.fullmatch(OWN, node.value):
            return node.value
        options = f"{', '.join(FINDINGS)}, {DATA_CLASS}NAME, {DETECTOR}NAME"
        if node.value not in FINDINGS:
            node.fail(f"{described(node.value)} is not one of {options}" + nearest(node.value, FINDINGS))
        return str(node.value)

    def dump(self, value: str) -> str:
        return value

    def schema(self) -> Schema:
        return {"anyOf": [{"enum": list(FINDINGS)}, {"type": "string", "pattern": f"^{OWN}$"}]}


RISKS = ("low", "medium", "high")
TOOL_GLOBS = ListOf(Text(200), at_least=1)
MOST_MINUTES = 1440
_FINDINGS = ListOf(FindingName(), is_set=True)
_GLOB_SET = ListOf(Text(200), is_set=True)
_PATHS = ListOf(Text(200, pattern=r"\S+", hint="write a path such as *.iban"), is_set=True)
LABEL_PATTERN = r"[a-z0-9][a-z0-9_-]{0,63}"
LABEL = Text(64, pattern=LABEL_PATTERN, hint="use a-z, 0-9, '-' and '_'")
DATA_CLASSES = ListOf(NAME_TEXT, is_set=True)
_DURATION: Schema = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]{1,7}[smhd]?$"}]}
_SOME_NAMES: Schema = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}


@dataclass(frozen=True, slots=True)
class Json:
    """Anything a file can say, as plain data."""

    def read(self, node: Node) -> Any:
        if isinstance(node.value, dict):
            return {name: self.read(child) for name, child in node.value.items()}
        if isinstance(node.value, list):
            return [self.read(child) for child in node.value]
        return node.value

    def dump(self, value: Any) -> Any:
        return value

    def schema(self) -> Schema:
        return {}


@dataclass(frozen=True, slots=True)
class Object(Json):
    """A mapping of anything."""

    def read(self, node: Node) -> Any:
        return {name: Json().read(child) for name, child in node.members().items()}

    def schema(self) -> Schema:
        return {"type": "object"}


@dataclass(frozen=True, slots=True)
class Approvers:
    """Who must agree, as `governance.approval_terms` reads it, without what is usual; None if nothing else is said."""

    def read(self, node: Node) -> dict[str, Any] | None:
        plain = Object().read(node)
        try:
            return terms_as_json(parse_terms(plain)) or None
        except TermsError as error:
            _fail_at(node, error)

    def dump(self, value: dict[str, Any]) -> dict[str, Any]:
        return value

    def schema(self) -> Schema:
        whole = {"type": "integer", "minimum": 1, "maximum": MOST_HUMANS}
        known: dict[str, Schema] = {
            **dict.fromkeys(KEYS, _SOME_NAMES),
            **dict.fromkeys(("count", "denials"), whole),
            **{key: {"type": "boolean"} for key in ("manager", "resource_owner", "in_chat")},
            **dict.fromkeys(("pending", "use_within", "longest_grant", "step_up"), _DURATION),
            "duties": {"anyOf": [{"enum": list(DUTIES)}, {"type": "array", "items": {"enum": list(DUTIES)}}]},
            "reason": {"enum": ["optional", "required"]},
            "ticket": {"type": "string", "maxLength": 200},
            "escalate": {
                "type": "object",
                "properties": {"after": _DURATION, "to": _SOME_NAMES},
                "required": ["after", "to"],
                "additionalProperties": False,
            },
        }
        return {"type": "object", "properties": known, "additionalProperties": False}


def _fail_at(node: Node, error: TermsError) -> NoReturn:
    """Where the file has the member that will not do."""
    for step in filter(None, error.field.split(".")):
        if not isinstance(node.value, dict) or step not in node.value:
            break
        node = node.value[step]
    node.fail(str(error))


def stored_approvers(stored: Mapping[str, Any]) -> dict[str, Any] | None:
    """In the one form that compares; what an older version stored and this one cannot read stays as it is."""
    if not stored:
        return None
    try:
        return terms_as_json(parse_terms(stored)) or None
    except TermsError:
        return dict(stored)


def approver_references(approvers: Mapping[str, Any], key: str) -> Iterator[Reference]:
    try:
        terms = parse_terms(approvers)
    except TermsError:
        return
    for names in (terms.teams, terms.on_call, terms.escalate_to):
        yield from (Reference(key, "teams", name) for name in names)
    yield from (Reference(key, "people", email) for email in terms.people)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleEntry:
    effect: str = of(Choice(("permit", "ask", "deny", "mask", "flag", "restore")))
    tools: tuple[str, ...] = of(TOOL_GLOBS, ("*",))
    connectors: tuple[str, ...] = of(_GLOB_SET, ())
    data_classes: tuple[str, ...] = of(DATA_CLASSES, ())
    risks: tuple[str, ...] = of(ListOf(Choice(RISKS), is_set=True, order=RISKS.index), ())
    access: str = of(Choice(("read", "write")), "")
    on: str = of(Choice(("arguments", "result")), "arguments")
    when: str = of(Text(4096), "")
    findings: tuple[str, ...] = of(_FINDINGS, ())
    on_failure: str = of(Choice(("closed", "open")), "closed")
    fields: tuple[str, ...] = of(_PATHS, ())
    reversible: bool = of(Flag(), False)
    keep_last: int = of(Number(0, MOST_SHOWN, is_whole=True), 0)
    approvers: Mapping[str, Any] | None = of(Approvers(), None)
    reason: str = of(Text(500), "")

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.approvers is not None and self.effect != "ask":
            yield "approvers", "only a rule that asks has approvers"
        try:
            if self.when:
                compile_condition(self.when)
        except ConditionError as error:
            yield "when", str(error)

    def text(self) -> RuleText:
        return RuleText(
            effect=self.effect,
            tools=self.tools,
            connectors=self.connectors,
            data_classes=self.data_classes,
            risks=self.risks,
            access=self.access,
            on=self.on,
            when=self.when,
            findings=self.findings,
            on_failure=self.on_failure,
            fields=self.fields,
            reversible=self.reversible,
            keep_last=self.keep_last,
            approvers=self.approvers or {},
            reason=self.reason,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseEntry:
    """A call, and what the policy's rules must say of it; `rule` is the place of the rule that says so, from 1.

    `teams` are the person's; `network` is an address or the name of a network; without `time` it is a Monday at noon,
    and without `network` an address outside.
    """

    name: str = of(TITLE, "")
    tool: str = of(Text(2000))
    connector: str = of(NAME_TEXT, "")
    args: Mapping[str, Any] | None = of(Object(), None)
    agent: str = of(NAME_TEXT, "")
    person: str = of(EMAIL, "")
    teams: tuple[str, ...] = of(NAMES, ())
    time: datetime | None = of(Moment(), None)
    network: str = of(Text(64), "")
    labels: tuple[str, ...] = of(ListOf(LABEL, is_set=True), ())
    findings: tuple[str, ...] = of(_FINDINGS, ())
    expect: str = of(Choice(("permit", "ask", "deny", "mask", "flag")))
    rule: int | None = of(Number(1, 10_000, is_whole=True), None)


def read_case(stored: Mapping[str, Any]) -> CaseEntry:
    """Of a test as it is stored. Raises BadManifest."""
    case: CaseEntry = Record(CaseEntry).read(node_of(stored, "test"))
    return case


def plain_case(case: CaseEntry) -> dict[str, Any]:
    """As it is stored."""
    return Record(CaseEntry).dump(case)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyEntry(Entry):
    name: str = of(NAME_TEXT)
    title: str = of(TITLE, "")
    rules: tuple[RuleEntry, ...] = of(ListOf(Record(RuleEntry)), ())
    tests: tuple[CaseEntry, ...] = of(ListOf(Record(CaseEntry)), ())
    unchecked: frozenset[int] = field(default=frozenset(), compare=False)
    """Of a stored policy: the rules, from 0, whose condition was not held against the tools it is about."""

    def references(self) -> Iterator[Reference]:
        for position, rule in enumerate(self.rules):
            yield from approver_references(rule.approvers or {}, f"rules[{position}].approvers")
            yield from finding_references(rule.findings, f"rules[{position}].findings")

    def texts(self) -> tuple[RuleText, ...]:
        return tuple(rule.text() for rule in self.rules)

    def plain_tests(self) -> list[dict[str, Any]]:
        return [plain_case(test) for test in self.tests]


def path_of(fault: RuleFault, section: str) -> str:
    """Where a manifest has it, e.g. `rules[0].when`."""
    return f"{section}[{fault.position - 1}].{fault.field}".rstrip(".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A weekly window in the organisation's time zone; without days, every day. It may pass midnight. With `holidays`
    false there is none on the organisation's holidays."""

    days: tuple[str, ...] = of(ListOf(Choice(WEEKDAYS), is_set=True, order=WEEKDAYS.index), ())
    opens: str = of(CLOCK, key="from")
    closes: str = of(CLOCK, key="to")
    holidays: bool = of(Flag(), True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeEntry:
    """What limits the arguments of the tools it names; `text` is what an agent is told."""

    tools: tuple[str, ...] = of(TOOL_GLOBS, ("*",))
    when: str = of(Text(4096))
    text: str = of(Text(200), "")

    def faults(self) -> Iterator[tuple[str, str]]:
        try:
            compile_condition(self.when)
        except ConditionError as error:
            yield "when", str(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleEntry(Entry):
    name: str = of(NAME_TEXT)
    title: str = of(TITLE, "")
    bundles: tuple[str, ...] = of(NAMES, ())
    teams: tuple[str, ...] = of(NAMES, ())
    people: tuple[str, ...] = of(ListOf(EMAIL, is_set=True), ())
    starts_at: datetime | None = of(Moment(), None)
    ends_at: datetime | None = of(Moment(), None)
    schedule: Schedule | None = of(Record(Schedule), None)
    scopes: tuple[ScopeEntry, ...] = of(ListOf(Record(ScopeEntry)), ())

    def references(self) -> Iterator[Reference]:
        for kind in ("bundles", "teams", "people"):
            yield from (Reference(kind, kind, name) for name in getattr(self, kind))

    def faults(self) -> Iterator[tuple[str, str]]:
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            yield "ends_at", "the role would end before it starts"


REACTS = {
    "denials": ("freeze_agent",),
    "finding": ("freeze_agent", "hold_run"),
    "drift": ("quarantine_tool",),
}
"""What may happen -> what the gateway can do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactionEntry(Entry):
    name: str = of(NAME_TEXT)
    title: str = of(TITLE, "")
    trigger: str = of(Choice(tuple(REACTS)))
    count: int = of(Number(1, 1_000_000, is_whole=True), 1)
    minutes: int = of(Number(1, MOST_MINUTES, is_whole=True), 10)
    findings: tuple[str, ...] = of(_FINDINGS, ())
    action: str = of(Choice(("freeze_agent", "hold_run", "quarantine_tool")))
    lasting_minutes: int = of(Number(1, 525_600, is_whole=True), 60)
    approvers: Mapping[str, Any] | None = of(Approvers(), None)
    enabled: bool = of(Flag(), True)

    def references(self) -> Iterator[Reference]:
        yield from approver_references(self.approvers or {}, "approvers")
        yield from finding_references(self.findings, "findings")

    def faults(self) -> Iterator[tuple[str, str]]:
        yield from reaction_faults(
            self.trigger,
            action=self.action,
            has_findings=bool(self.findings),
            has_approvers=bool(self.approvers),
        )


def reaction_faults(trigger: str, *, action: str, has_findings: bool, has_approvers: bool) -> Iterator[tuple[str, str]]:
    """What does not go together, by member."""
    if action not in REACTS[trigger]:
        yield "action", f"after {trigger} only {' or '.join(REACTS[trigger])} is possible"
    if (trigger == "finding") != has_findings:
        yield "findings", "name findings with trigger 'finding', and only with that"
    if has_approvers and action != "hold_run":
        yield "approvers", "only a held run has approvers"
