"""What the rules of a hold on a tool come to, once their conditions are worked out. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from governance.approval_terms import Terms
from governance.condition_sets import ConditionSet
from governance.conditions import Verdict
from governance.snapshot_values import NOBODY, Rule

ALWAYS = ""
"""Stands for the source of a condition that is not there."""
OUTCOMES_KEPT = 4
"""Of each hold: most calls of a tool come to the same few."""


class RuleTrace(NamedTuple):
    """A rule that matched: where it came from (e.g. `organization`, `bundle support v3`) and what it wants."""

    policy: str
    version: int
    position: int
    effect: str
    origin: str
    reason: str
    outcome: str

    @property
    def key(self) -> str:
        return f"{self.policy} v{self.version}#{self.position}"

    def as_json(self) -> dict[str, Any]:
        return {
            "policy": self.policy,
            "version": self.version,
            "rule": self.position,
            "effect": self.effect,
            "from": self.origin,
            "reason": self.reason,
            "condition": self.outcome,
        }


class Ask(NamedTuple):
    """A rule, by key, that wants humans to agree."""

    rule: str
    reason: str
    terms: Terms


class Mask(NamedTuple):
    """What a rule, by key, wants masked in the result: globs over paths."""

    rule: str
    fields: tuple[str, ...]


class Screen(NamedTuple):
    """What a rule, by key, wants done where content has what it names; without names, whatever the content."""

    rule: str
    effect: str
    findings: frozenset[str]
    reason: str
    is_open: bool = False
    """What could not be looked at does not count as found."""
    reversible: bool = False
    keep_last: int = 0
    ask: Ask | None = None
    """Of a rule that asks: who has to look at it."""

    def counts(self, found: frozenset[str], unseen: frozenset[str]) -> bool:
        return not self.findings or not self.findings.isdisjoint(found) or self.is_blind(unseen)

    def is_blind(self, unseen: frozenset[str]) -> bool:
        """It counts whether or not it is there, because nobody could look."""
        return not self.is_open and not self.findings.isdisjoint(unseen)


def screen_of(rule: Rule) -> Screen:
    ask = ask_of(rule) if rule.effect == "ask" else None
    return Screen(rule.key, rule.effect, rule.findings, rule.reason, rule.is_open, rule.reversible, rule.keep_last, ask)


def settled_screens(rules: Collection[Rule]) -> tuple[Screen, ...]:
    """Those of rules of which none has a condition; nothing where one has."""
    return tuple(map(screen_of, rules)) if all(rule.condition is None for rule in rules) else ()


class Denial(NamedTuple):
    """`exists`: whether another call of the tool might be permitted."""

    reason: str
    exists: bool


@dataclass(frozen=True, slots=True)
class Answers:
    """All that follows from the verdicts alone: of the rules that matched, in their order."""

    verdicts: Mapping[str, Verdict]
    """By source; what is not in it is false or could not be worked out."""
    rules: tuple[RuleTrace, ...]
    asks: tuple[Ask, ...]
    masks: tuple[Mask, ...]
    denial: Denial | None


@dataclass(frozen=True, slots=True)
class Questions:
    """What must be worked out for each call, and what is settled by who holds which tool."""

    rules: tuple[tuple[str, Rule], ...]
    """With the source of their condition; those that can never take part are left out."""
    conditions: ConditionSet
    settled: Mapping[str, Verdict]
    """By source: what is true, or undecided, whatever a call brings."""
    _kept: dict[int, Answers] = field(default_factory=dict, init=False, repr=False, compare=False)

    def answers(self, variables: Mapping[str, Any]) -> Answers:
        outcome = self.conditions.outcome(variables)
        found = self._kept.get(outcome)
        if found is None:
            found = self._answers(outcome)
            if len(self._kept) < OUTCOMES_KEPT:
                self._kept[outcome] = found
        return found

    def _answers(self, outcome: int) -> Answers:
        verdicts = {**self.settled, **self.conditions.verdicts(outcome)}
        matched = tuple(_matched(self.rules, verdicts))
        return Answers(
            verdicts,
            rules=tuple(trace(rule, verdict) for rule, verdict in matched),
            asks=tuple(ask_of(rule) for rule, _ in matched if rule.effect == "ask"),
            masks=tuple(Mask(rule.key, rule.fields) for rule, _ in matched if rule.fields),
            denial=denial_of([rule for rule, _ in matched if rule.effect == "deny"]),
        )


def with_content(answers: Answers, matched: Collection[tuple[Rule, Verdict]]) -> Answers:
    """And what follows from rules that waited for content, now that it is there."""
    denies = [rule for rule, _ in matched if rule.effect == "deny"]
    return replace(
        answers,
        rules=(*answers.rules, *(trace(rule, verdict) for rule, verdict in matched)),
        asks=(*answers.asks, *(ask_of(rule) for rule, _ in matched if rule.effect == "ask")),
        denial=answers.denial or (Denial(denies[0].reason or "A rule forbids this content.", True) if denies else None),
    )


def _matched(rules: Iterable[tuple[str, Rule]], verdicts: Mapping[str, Verdict]) -> Iterator[tuple[Rule, Verdict]]:
    for source, rule in rules:
        verdict = verdicts.get(source, Verdict.UNDECIDED)
        if verdict is not Verdict.FALSE and rule.takes_part(verdict):
            yield rule, verdict


def trace(rule: Rule, verdict: Verdict) -> RuleTrace:
    outcome = "always" if rule.condition is None else verdict.name.lower()
    return RuleTrace(rule.policy, rule.version, rule.position, rule.effect, rule.origin, rule.reason, outcome)


def ask_of(rule: Rule) -> Ask:
    return Ask(rule.key, rule.reason or "This call needs a human's approval.", rule.terms or NOBODY)


def denial_of(denies: list[Rule]) -> Denial | None:
    """A tool that is always denied does not exist for the agent."""
    if not denies:
        return None
    exists = all(rule.condition is not None for rule in denies)
    return Denial(denies[0].reason or "A rule forbids this call.", exists)
