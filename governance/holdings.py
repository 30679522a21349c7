"""An agent's hold on one tool through one bundle, with all that is known of it before a call comes. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from governance.answers import ALWAYS, Questions, Screen
from governance.condition_sets import condition_set
from governance.conditions import Condition, Verdict, evaluate_knowing
from governance.inspection.findings import NAMED, OWN
from governance.snapshot_values import Agent, Bundle, Grant, Person, Role, Rule, Scope, Tool, matches_any

CALLED: Final = re.compile(OWN)
Scopes = Mapping[str, tuple[Scope, ...]]
"""Role id -> those that limit a tool, of roles where any does."""


@dataclass(frozen=True, slots=True)
class Holding:
    """An agent's hold on a tool; hers and an agent's together if it acts for a person.

    The rules are those that can match; `read_set` is what all rests on.
    """

    agent: Agent
    bundle: Bundle
    tool: Tool
    roles: tuple[Role, ...]
    rules: tuple[Rule, ...]
    read_set: frozenset[str]
    person: Person | None
    person_roles: tuple[Role, ...]
    scopes: Scopes
    consents: tuple[Grant, ...]
    """That may answer asking rules."""
    starts: tuple[datetime, ...]
    """When any of these roles and consents begins to count; what always did is left out."""
    has_grants: bool
    """Whether a role stands for one."""
    reads_time: bool
    """Whether a rule, scope or consent does."""
    reads_labels: bool
    on_arguments: tuple[Rule, ...]
    """Those that wait for what is found in the arguments."""
    on_result: tuple[Rule, ...]
    """Those that wait for the result."""
    screens: tuple[Screen, ...]
    """What these come to for every call; empty where a call has a say."""
    restores: tuple[Rule, ...]
    """Those that have real values put back into the arguments."""
    looked_for: frozenset[str]
    """What has to be looked for in the arguments, as rules name it."""
    called: Questions = field(repr=False)
    listed: Questions = field(repr=False)
    """Without all that looks at arguments."""

    @property
    def holds_answers(self) -> bool:
        """Whether an answer may wait for humans."""
        return any(rule.effect == "ask" for rule in self.on_result)

    @property
    def masks_results(self) -> bool:
        """Whether a rule may change what the tool answers."""
        return any(rule.effect == "mask" and (rule.on == "result" or bool(rule.fields)) for rule in self.rules)


def conditions_of(rules: Iterable[Rule], scopes: Scopes, consents: Iterable[Grant]) -> list[Condition]:
    """All that are worked out before a call starts, each once."""
    found = (
        *(rule.condition for rule in rules if not rule.reads_content),
        *(scope.condition for limiting in scopes.values() for scope in limiting),
        *(grant.condition for grant in consents),
    )
    return list({each.source: each for each in found if isinstance(each, Condition)}.values())


def looked_for(on_arguments: Iterable[Rule], conditions: Iterable[Condition]) -> frozenset[str]:
    """A condition may read any of it; of what an organisation adds, what it calls by name."""
    reading = [condition.source for condition in conditions if "findings" in condition.reads]
    read = frozenset(NAMED).union(*map(CALLED.findall, reading)) if reading else frozenset()
    return read.union(*(rule.findings for rule in on_arguments))


def questions(rules: Iterable[Rule], conditions: Collection[Condition], known: Mapping[str, Any]) -> Questions:
    """`known` are the variables that are the same in every call."""
    verdicts = {condition.source: _settled(condition, known) for condition in conditions}
    settled = {source: verdict for source, verdict in verdicts.items() if verdict in (Verdict.TRUE, Verdict.UNDECIDED)}
    asking = ((rule.condition.source if rule.condition is not None else ALWAYS, rule) for rule in rules)
    return Questions(
        tuple((source, rule) for source, rule in asking if verdicts.get(source) is not Verdict.FALSE),
        condition_set(tuple(condition for condition in conditions if verdicts[condition.source] is None)),
        {ALWAYS: Verdict.TRUE, **settled},
    )


def _settled(condition: Condition, known: Mapping[str, Any]) -> Verdict | None:
    """None: it depends on the call."""
    if condition.reads.isdisjoint(known):
        return None
    verdict = evaluate_knowing(condition, {name: known[name] for name in condition.reads & known.keys()})
    return verdict if verdict is not Verdict.UNDECIDED or condition.reads <= known.keys() else None


def scopes_of(roles: Iterable[Role], tool: Tool) -> Scopes:
    limiting = {role.id: tuple(s for s in role.scopes if matches_any(s.tools, tool)) for role in roles if role.scopes}
    return {role: scopes for role, scopes in limiting.items() if scopes}
