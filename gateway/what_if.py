"""What rules about content would have done to recorded calls: their arguments and answers are opened, inspected and let
go again. Nothing of them is kept or shown, but where something was found. Who asks says why, on record, before.

Conditions count unless they cannot hold whatever is not known. Answers are as the agent got them: what rules of then
masked is not there any more.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.utils.module_loading import import_string

from audit.event import first_id_at
from audit.models import EventRow, Payload
from gateway.excepting import set_apart, without
from gateway.inspecting import BUDGET, ENGINE, kinds_of
from gateway.sealed_payloads import Seals, Unreadable, asked_of
from governance import canonical
from governance.answers import Screen
from governance.conditions import Condition, Verdict, evaluate_knowing
from governance.facts import Fact
from governance.inspection.findings import Finding, Findings, names_of
from governance.inspection.redaction import places
from governance.snapshot import Agent, Rule, Snapshot, Tool

PERMISSION: Final = "audit.view_payload"
MOST_RECORDS: Final = 2_000
LONGEST_SECONDS: Final = 8.0
PAGE: Final = 100
MOST_EXAMPLES: Final = 5
"""Of each rule and each detection rule."""
MOST_GROUPS: Final = 200
KINDS: Final = {"call.intent": "arguments", "call.outcome": "result"}


@dataclass(frozen=True, slots=True)
class Example:
    """Where it was, never what."""

    at: datetime
    event_id: UUID
    call_id: UUID | None
    session: UUID | None
    agent: str
    tool: str
    path: str


@dataclass(frozen=True, slots=True)
class Group:
    """What one rule does because of one detection rule; empty for whatever the content."""

    rule: str
    effect: str
    direction: str
    detection: str


@dataclass(slots=True)
class WhatIf:
    since: datetime
    until: datetime
    looked_at: int = 0
    unreadable: int = 0
    """Their keys are gone, or they are no JSON."""
    not_inspected: int = 0
    """Too large, too deep or too slow in a part."""
    left_out: str = ""
    hits: Counter[Group] = field(default_factory=Counter)
    """In how many records."""
    examples: dict[Group, list[Example]] = field(default_factory=dict)


def opening(policy: str, *, since: datetime, reason: str) -> Fact:
    """Recorded before anything is opened."""
    told = {"reason": reason, "since": since, "tried": f"policy:{policy}", "at_most": MOST_RECORDS}
    return Fact("payload.opened", f"policy:{policy}", told)


def look_back(rules: Sequence[Rule], snapshot: Snapshot, *, now: datetime, days: int) -> WhatIf:
    """Newest first, as far as there is time."""
    told = WhatIf(since=now - timedelta(days=days), until=now)
    past = _Past(told, [rule for rule in rules if rule.screens and rule.findings], snapshot)
    if not past.rules:
        return told
    began = time.monotonic()
    for page in _pages(told):
        for event, payload in page:
            past.take(event, payload)
            if time.monotonic() - began > LONGEST_SECONDS:
                told.left_out = f"There was time for calls since {event.at:%Y-%m-%d %H:%M} UTC only."
                return told
    if told.looked_at >= MOST_RECORDS:
        told.left_out = f"Only the newest {MOST_RECORDS:,} bodies were looked at."
    return told


def _pages(told: WhatIf) -> Iterator[list[tuple[EventRow, Payload]]]:
    """By key, so that memory stays flat and nothing is held open between the pages."""
    bound, since = first_id_at(told.until), first_id_at(told.since)
    while told.looked_at < MOST_RECORDS:
        sealed = Payload.objects.filter(event_id__lt=bound, event_id__gte=since).order_by("-event_id")
        payloads = list(sealed[: min(PAGE, MOST_RECORDS - told.looked_at)])
        if not payloads:
            return
        events = EventRow.objects.in_bulk([payload.event_id for payload in payloads])
        told.looked_at += len(payloads)
        yield [(events[each.event_id], each) for each in payloads if each.event_id in events]
        bound = payloads[-1].event_id


class _Past:
    """Inspects recorded bodies for what these rules look for."""

    def __init__(self, told: WhatIf, rules: list[Rule], snapshot: Snapshot) -> None:
        self.told = told
        self.rules = rules
        self._snapshot = snapshot
        self._seals = Seals()
        self._engine = import_string(ENGINE)
        self._tools = {(tool.connector.name, tool.name): tool for tool in snapshot.tools.values()}
        self._agents = {agent.name: agent for agent in snapshot.agents.values()}

    def take(self, event: EventRow, payload: Payload) -> None:
        direction, tool = KINDS.get(event.kind, ""), self._tool(event)
        rules = [rule for rule in self.rules if rule.on == direction and tool is not None and rule.matches(tool)]
        if not rules or tool is None:
            return
        try:
            value = self._value(event, payload)
        except (Unreadable, canonical.NotCanonical):
            self.told.unreadable += 1
            return
        found = self._found(value, rules, tool)
        self.told.not_inspected += not found.is_complete
        if found.found:
            self._count(event, value, found, [rule for rule in rules if self._may_hold(rule, event, tool, value)])

    def _tool(self, event: EventRow) -> Tool | None:
        kind, _, name = event.tool.partition(":")
        if kind in ("resource", "prompt"):
            connectors = self._snapshot.connectors.values()
            connector = next((each for each in connectors if each.name == event.connector), None)
            return self._snapshot.target(connector, kind, name) if connector else None
        return self._tools.get((event.connector, event.tool))

    def _value(self, event: EventRow, payload: Payload) -> Any:
        """As inspection met it. Raises Unreadable, NotCanonical."""
        header = bytes(event.header)
        body = canonical.parse(self._seals.body(event.pk, header, payload))
        return {"arguments": asked_of(header, body)} if event.kind == "call.intent" else body

    def _found(self, value: Any, rules: list[Rule], tool: Tool) -> Findings:
        names = frozenset(name for rule in rules for name in rule.findings)
        found: Findings = self._engine(value, kinds=kinds_of(names), budget=BUDGET)
        here = (tool.id, tool.connector.id)
        standing = [
            each
            for each in self._snapshot.exceptions
            if (each.tool_id or each.connector_id) in here and self.told.until < each.ends_at
        ]
        return set_apart(without(found.sure(), self._snapshot.detection_off), value, standing)

    def _may_hold(self, rule: Rule, event: EventRow, tool: Tool, value: Any) -> bool:
        if not isinstance(rule.condition, Condition):
            return True
        agent: Agent | None = self._agents.get(event.agent)
        known: dict[str, Any] = {"tool": tool.variables, **({"agent": agent.variables} if agent else {})}
        if isinstance(value, Mapping) and isinstance(value.get("arguments"), dict) and event.kind == "call.intent":
            known["args"] = value["arguments"]
        return evaluate_knowing(rule.condition, known) is not Verdict.FALSE

    def _count(self, event: EventRow, value: Any, found: Findings, rules: list[Rule]) -> None:
        where = {finding: shown for finding, shown, _ in places(value, found.found, among=found)}
        for rule in rules:
            screen = Screen(rule.key, rule.effect, rule.findings, rule.reason, rule.is_open)
            if screen.counts(found.named(), found.unseen()):
                self._hit(rule, event, [each for each in found if _is_for(rule, each)], where)

    def _hit(self, rule: Rule, event: EventRow, found: list[Finding], where: Mapping[Finding, str]) -> None:
        told = self.told
        for detection, finding in {each.rule: each for each in reversed(found)}.items():
            group = Group(rule.key, rule.effect, rule.on, detection)
            if group not in told.hits and len(told.hits) >= MOST_GROUPS:
                continue
            told.hits[group] += 1
            examples = told.examples.setdefault(group, [])
            if len(examples) < MOST_EXAMPLES:
                tool = f"{event.connector}/{event.tool}"
                path = where.get(finding, "")
                examples.append(Example(event.at, event.pk, event.call_id, event.session, event.agent, tool, path))


def _is_for(rule: Rule, finding: Finding) -> bool:
    return finding.kind == "limit" or not rule.findings.isdisjoint(names_of(finding))
