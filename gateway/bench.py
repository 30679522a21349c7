"""The test bench: what inspection finds in a text that somebody pastes, and what the rules in force would do. Nothing
of it is kept. Values of the vault are not looked for here: whoever tries texts would learn them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.utils.module_loading import import_string

from gateway.excepting import set_apart, without
from gateway.inspecting import BUDGET, ENGINE, fingerprint, kinds_of
from governance import canonical
from governance.answers import Screen
from governance.conditions import Condition
from governance.facts import Fact
from governance.inspection.findings import SURE, Finding, Findings, names_of
from governance.inspection.redaction import places, redact
from governance.snapshot import Rule, Snapshot, Tool

PERMISSION: Final = "governance.inspect_policy"
LONGEST: Final = 100_000
"""Characters of a text."""
MOST_SHOWN: Final = 200
DIRECTIONS: Final = {"arguments": "What an agent sends", "result": "What a system answers"}
KINDS: Final = {
    "secret": "Secrets",
    "personal_data": "Personal data",
    "injection": "Injected orders, hidden letters",
    "suspected_injection": "Suspected orders",
}
WORDS: Final = {
    "deny": "would refuse it",
    "ask": "would ask a human",
    "mask": "would mask it",
    "flag": "would flag it",
}


class NotJson(ValueError):
    """It looks like JSON and is none, or one that could be read in two ways."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried: a text, as what, for which of KINDS, and at which tool if at one."""

    text: str
    direction: str
    kinds: frozenset[str]
    tool: Tool | None = None

    def value(self) -> Any:
        """As inspection would meet it. Raises NotJson."""
        given = self._given()
        if self.direction == "arguments":
            return {"arguments": given if isinstance(given, dict) else {"text": given}}
        if isinstance(given, str):
            return {"content": [{"type": "text", "text": given}]}
        is_result = isinstance(given, dict) and not given.keys().isdisjoint(("content", "structuredContent"))
        return given if is_result else {"structuredContent": given}

    def _given(self) -> Any:
        if not self.text.lstrip().startswith(("{", "[")):
            return self.text
        try:
            return canonical.parse(self.text.encode())
        except (canonical.NotCanonical, UnicodeEncodeError) as problem:
            raise NotJson(f"This is no JSON that could be read in one way only: {problem}") from None

    def as_fact(self, seen: "Seen") -> Fact:
        """That it was tried, without the text."""
        told = {"characters": len(self.text), "direction": self.direction, "kinds": sorted(self.kinds)}
        tool = {"connector": self.tool.connector.name, "tool": self.tool.name} if self.tool else {}
        return Fact("inspection.tried", "inspection", {**told, **tool, "found": len(seen.lines) + seen.more})


@dataclass(frozen=True, slots=True)
class Line:
    """One finding. `text` is what was pasted there."""

    finding: Finding
    names: tuple[str, ...]
    path: str
    text: str
    fingerprint: str

    @property
    def counts(self) -> bool:
        return self.finding.confidence >= SURE and not self.finding.exception


@dataclass(frozen=True, slots=True)
class Effect:
    """What a rule in force would do, if its condition holds; `does` is empty where it finds nothing of its own."""

    rule: str
    looks_for: str
    does: str
    effect: str
    condition: str
    reason: str


@dataclass(frozen=True, slots=True)
class Seen:
    lines: tuple[Line, ...]
    more: int
    is_complete: bool
    effects: tuple[Effect, ...]
    masked: str
    """The text as JSON, without what was found."""


def look(trial: Trial, snapshot: Snapshot, *, now: datetime) -> Seen:
    """Raises NotJson."""
    value = trial.value()
    found: Findings = import_string(ENGINE)(value, kinds=kinds_of(trial.kinds), budget=BUDGET)
    found = without(found, snapshot.detection_off)
    sure = set_apart(found.sure(), value, _exceptions(trial.tool, snapshot, now=now))
    marked = {_place(each): each for each in sure.excepted}
    shown = [marked.get(_place(each), each) for each in found]
    return Seen(
        lines=tuple(_lines(value, shown[:MOST_SHOWN])),
        more=max(0, len(shown) - MOST_SHOWN),
        is_complete=found.is_complete,
        effects=tuple(_effects(trial, sure, snapshot)),
        masked=canonical.encode(redact(value, sure.found)).decode(),
    )


def _exceptions(tool: Tool | None, snapshot: Snapshot, *, now: datetime) -> list[Any]:
    """Those of a bundle depend on the call."""
    if tool is None:
        return []
    here = (tool.id, tool.connector.id)
    return [each for each in snapshot.exceptions if now < each.ends_at and (each.tool_id or each.connector_id) in here]


def _place(finding: Finding) -> tuple[Any, ...]:
    return finding.rule, finding.path, finding.in_key, finding.start, finding.end


def _lines(value: Any, found: list[Finding]) -> Iterator[Line]:
    for finding, _, text in places(value, found, among=found):
        names = tuple(sorted(names_of(finding)))
        yield Line(finding, names, finding.path, text, "" if finding.kind == "limit" else fingerprint(text))


def _effects(trial: Trial, found: Findings, snapshot: Snapshot) -> Iterator[Effect]:
    """Of all rules about this direction, and this tool if one was named; by policy."""
    rules = (rule for policy in snapshot.rules.values() for rule in policy)
    for rule in sorted(rules, key=lambda rule: (rule.policy, rule.position)):
        if rule.screens and rule.on == trial.direction and (trial.tool is None or rule.matches(trial.tool)):
            yield _effect(rule, found)


def _effect(rule: Rule, found: Findings) -> Effect:
    screen = Screen(rule.key, rule.effect, rule.findings, rule.reason, rule.is_open)
    does = WORDS.get(rule.effect, rule.effect) if screen.counts(found.named(), found.unseen()) else ""
    condition = rule.condition.source if isinstance(rule.condition, Condition) else ""
    return Effect(rule.key, ", ".join(sorted(rule.findings)), does, rule.effect, condition, rule.reason)
