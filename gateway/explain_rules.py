"""What became of each rule and data scope around one call, and why. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from gateway.explain_values import Considered, ScopeTold
from governance.conditions import Condition, Verdict, without_literals
from governance.decision import AccessRequest, Decision, variables_of
from governance.holdings import Holding
from governance.snapshot import Bundle, Role, Rule, Scope, Snapshot, Tool, Undecidable, matcher, matches_any

BY_RULES = ("permitted", "approved", "approval_required", "denied_by_rule", "outside_scope")
MOST_PASSED_OVER = 20
WHY = {
    "agent_not_live": "the agent is not live, or its owner is not active",
    "tool_unknown": "no role of the agent gives a published bundle that holds this tool",
    "role_not_in_time": "the role that gives it is not in its time",
}
_READ = re.compile(r"(?<![\w.])((?:agent|person|args|tool|session|time|network)(?:\s*\.\s*[A-Za-z_]\w*)+)\b(?!\s*\()")
"""What a condition reads, but for a method at its end."""


@dataclass(frozen=True, slots=True)
class PassedOver:
    nearest: tuple[Considered, ...]
    count: int


@dataclass(frozen=True)
class Trace:
    """Of one call through one bundle."""

    request: AccessRequest
    decision: Decision
    bundle: Bundle
    snapshot: Snapshot
    at: datetime

    @cached_property
    def _holding(self) -> Holding | None:
        request, snapshot = self.request, self.snapshot
        tool = request.target or snapshot.tools[request.tool_id]
        return snapshot.holding(snapshot.agents[request.agent_id], self.bundle, tool, request.person_id)

    @cached_property
    def _variables(self) -> Mapping[str, Any]:
        if self._holding is None:
            return {}
        return variables_of(self.request, self._holding, self.snapshot, self.at)

    @property
    def _knows_arguments(self) -> bool:
        return self.request.arguments is not None

    # -- rules that select the tool

    def considered(self) -> Iterator[Considered]:
        """Each with what became of it in the decision."""
        matched = {(rule.origin, rule.policy, rule.position): rule.outcome for rule in self.decision.rules}
        for rule in self._holding.rules if self._holding else ():
            outcome = self._outcome(rule, matched)
            why = self._missing(rule.condition) if outcome == "undecided" else ""
            yield _considered(rule, outcome, why)

    def _outcome(self, rule: Rule, matched: Mapping[tuple[str, str, int], str]) -> str:
        if self.decision.code not in BY_RULES:
            return "not_asked"
        if rule.reads_content:
            return "later"
        if rule.reads_arguments and not self._knows_arguments:
            return "needs_arguments"
        found = matched.get((rule.origin, rule.policy, rule.position))
        return found or self._unmatched(rule)

    def _unmatched(self, rule: Rule) -> str:
        """An undecided permit takes no part either, but it is not false."""
        if rule.effect != "permit" or not isinstance(rule.condition, Condition):
            return "false"
        verdict = rule.condition.evaluate(self._variables)
        return "undecided" if verdict is Verdict.UNDECIDED else "false"

    def _missing(self, condition: Condition | Undecidable | None) -> str:
        """What the condition reads and nobody knows; more cannot be told than what it names in so many words."""
        if not isinstance(condition, Condition):
            return "it cannot be read by this version of Gatehouse"
        paths = dict.fromkeys("".join(found.split()) for found in _READ.findall(without_literals(condition.source)))
        missing = [path for path in paths if not _is_known(path.split("."), self._variables)]
        if missing:
            return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not known"
        return "a value is of another type than it expects, or it would take too long"

    # -- rules that do not

    def passed_over(self, tool: Tool) -> PassedOver:
        """Rules of the organisation, the teams and the bundles that are for other tools: the nearest first, as those
        are what somebody may have meant to match."""
        others = [rule for rule in self._around() if not rule.matches(tool)] if self._holding else []
        nearest = sorted(others, key=lambda rule: not matches_any(rule.tools, tool))[:MOST_PASSED_OVER]
        return PassedOver(
            tuple(_considered(rule, "not_selected", passes_over(rule, tool)) for rule in nearest), len(others)
        )

    def _around(self) -> Iterator[Rule]:
        agent = self.snapshot.agents[self.request.agent_id]
        person = self.snapshot.people.get(self.request.person_id)
        teams = dict.fromkeys((*agent.owner.team_ids, *(person.team_ids if person else ())))
        yield from self.bundle.rules
        for team in teams:
            yield from self.snapshot.team_rules.get(team, ())

    # -- data scopes

    def scopes(self, role: Role) -> Iterator[ScopeTold]:
        scopes = self._holding.scopes.get(role.id, ()) if self._holding else ()
        for scope in scopes:
            outcome = self._scope_outcome(scope)
            why = self._missing(scope.condition) if outcome == "undecided" else ""
            yield ScopeTold(scope.text, scope.condition.source, outcome, why)

    def _scope_outcome(self, scope: Scope) -> str:
        if scope.reads_arguments and not self._knows_arguments:
            return "needs_arguments"
        if not isinstance(scope.condition, Condition):
            return "undecided"
        return SCOPES[scope.condition.evaluate(self._variables)]


SCOPES = {Verdict.TRUE: "holds", Verdict.FALSE: "does_not_hold", Verdict.UNDECIDED: "undecided"}


def passes_over(rule: Rule, tool: Tool) -> str:
    """Which part of the rule's selector leaves the tool out."""
    about = tool.variables
    if not matches_any(rule.tools, tool):
        return f"it names other tools: {_few(rule.tools)}"
    if rule.connectors and not any(matcher(glob)(tool.connector.name) for glob in rule.connectors):
        return f"it names other connectors: {_few(rule.connectors)}"
    if rule.data_classes and rule.data_classes.isdisjoint(about["data_classes"]):
        return f"it is for data of the class {_few(sorted(rule.data_classes))}"
    if rule.risks and about["risk"] not in rule.risks:
        return f"it is for {_few(sorted(rule.risks))} risk, and this is {about['risk']}"
    return f"it is for tools that {rule.access}"


def _few(names: tuple[str, ...] | list[str]) -> str:
    return f"{', '.join(names[:3])}{' …' if len(names) > 3 else ''}"


def _considered(rule: Rule, outcome: str, why: str) -> Considered:
    return Considered(
        policy=rule.policy,
        version=rule.version,
        position=rule.position,
        effect=rule.effect,
        origin=rule.origin,
        condition=rule.condition.source if isinstance(rule.condition, Condition) else "",
        reason=rule.reason,
        outcome=outcome,
        why=why,
    )


def _is_known(steps: list[str], variables: Mapping[str, Any]) -> bool:
    known: Any = variables
    for step in steps:
        if not isinstance(known, Mapping) or step not in known:
            return False
        known = known[step]
    return True
