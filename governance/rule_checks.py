"""Do rules mean something where they are used? A rule that can never change anything is worse than none: somebody
believes in it. Pure."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from governance.approval_terms import TermsError, parse_terms
from governance.conditions import ConditionError, check_against, is_never_true
from governance.inspection.findings import BESIDE, FOUND_IN
from governance.inspection.tokens import goes_back
from governance.rule_shadows import winners
from governance.rule_texts import (
    BundleText,
    Placed,
    Reach,
    RuleText,
    Scope,
    ToolText,
    World,
    is_called,
    reach_of,
    reach_of_bundles,
    selects,
)

UNLISTED = ("resource:", "prompt:")
"""What a rule may name without any list of it here: only its upstream knows which there are."""
MOST_SCHEMAS = 100
"""Of different tools that one condition is held against; each takes some milliseconds."""
FINDINGS_UNKNOWN = (
    "conditions are worked out before the call, when nobody knows what its result contains: the rule counts as if the "
    "condition were true. Name findings in the rule instead"
)
_FOUND = re.compile(r"(?<![\w.])findings\b")
_READ = re.compile(r"\bargs\s*\.\s*([A-Za-z_]\w*)")
_OPENING = ("additionalProperties", "patternProperties", "$ref", "allOf", "anyOf", "oneOf", "if")


class Severity(StrEnum):
    REFUSE = "refuse"
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class RuleFault:
    """What is wrong with the rule (or data scope) at `position`, from 1; `field` as a manifest calls it, or empty."""

    position: int
    severity: Severity
    code: str
    message: str
    field: str = ""


def is_refused(fault: RuleFault) -> bool:
    return fault.severity is Severity.REFUSE


def check_policy(policy: str, *, rules: Sequence[RuleText], world: World) -> list[RuleFault]:
    """The faults of these rules, if they were in force as `policy` in that world."""
    if world.policies.get(policy) != rules:
        world = world.with_policy(policy, rules)
    reach = reach_of(policy, world)
    return [
        fault
        for position, rule in enumerate(rules, start=1)
        for fault in _faults(Placed(policy, position, rule), reach, world)
    ]


def check_alone(rule: RuleText) -> list[RuleFault]:
    """What is wrong with it wherever it stands."""
    fault = _fault_of(1)
    broken = _broken_condition(rule.when, fault)
    return [*_pointless(rule, fault), *([broken] if broken is not None else ())]


def check_bundle_version(bundle: BundleText, *, world: World) -> dict[str, list[RuleFault]]:
    """By policy: the faults of the rules that the bundle uses, if it were published like this."""
    after = world.with_bundle(bundle)
    used = [policy for policy in bundle.policies if policy in after.policies]
    return {policy: check_policy(policy, rules=after.policies[policy], world=after) for policy in used}


def check_scopes(scopes: Sequence[Scope], *, bundles: Iterable[str], world: World) -> list[RuleFault]:
    """The faults of a role's data scopes, for the tools that its bundles give."""
    reach = reach_of_bundles(bundles, world)
    return [fault for position, scope in enumerate(scopes, start=1) for fault in _scope_faults(position, scope, reach)]


def _faults(placed: Placed, reach: Reach, world: World) -> Iterator[RuleFault]:
    fault = _fault_of(placed.position)
    yield from _pointless(placed.rule, fault)
    broken = _broken_condition(placed.rule.when, fault)
    if broken is not None:
        yield broken
        return
    yield from _undescribed(placed.rule, world, fault)
    yield from _mismatches(placed.rule, reach, fault)
    if placed.rule.when and reach.unknown:
        names = ", ".join(reach.unknown)
        yield fault("not_checked", f"not checked: the tools of {names} are not known yet", "when", Severity.WARN)
    winner = next(winners(placed, world), None)
    if winner is not None:
        message = f"this rule can never change a decision: {winner.name} always wins over it"
        yield fault("shadowed", message, "", Severity.WARN)


Told = Callable[..., RuleFault]


def _fault_of(position: int) -> Told:
    def told(code: str, message: str, key: str, severity: Severity = Severity.REFUSE) -> RuleFault:
        return RuleFault(position, severity, code, message, key)

    return told


def _broken_condition(when: str, fault: Told) -> RuleFault | None:
    try:
        if when and is_never_true(when):
            return fault("never_true", f"this rule can never match: the condition '{when}' is never true", "when")
    except ConditionError as error:
        return fault("condition_invalid", str(error), "when")
    return None


def _pointless(rule: RuleText, fault: Told) -> Iterator[RuleFault]:
    """What can never do anything, whatever the tools are."""
    if rule.fields and (rule.effect != "mask" or rule.on != "result"):
        yield fault("fields_ignored", "fields are masked in results: write effect mask on result", "fields")
    elif rule.effect == "mask" and not rule.findings and not rule.fields:
        yield fault("masks_nothing", "this rule masks nothing: name findings, or fields of the result", "findings")
    yield from _pointless_about_content(rule, fault)
    yield from _pointless_tokens(rule, fault)
    if rule.effect == "permit":
        message = "this rule changes nothing: who holds a tool may call it, and a permit outweighs no deny and no ask"
        yield fault("permit_changes_nothing", message, "effect", Severity.WARN)
    if rule.approvers and rule.effect != "ask":
        yield fault("approvers_ignored", "only a rule that asks has approvers", "approvers")
    elif rule.approvers:
        yield from _unfit_terms(rule.approvers, fault)


def _pointless_about_content(rule: RuleText, fault: Told) -> Iterator[RuleFault]:
    for name in rule.findings:
        if (side := FOUND_IN.get(name, rule.on)) != rule.on:
            yield fault("never_found", f"'{name}' is only looked for on: {side}", "findings")
    if rule.effect == "mask" and not BESIDE.isdisjoint(rule.findings):
        message = "an anomaly stands in no text and cannot be masked: flag, ask or deny"
        yield fault("masks_nothing", message, "findings")
    if rule.on_failure != "closed" and not rule.findings:
        message = "only a rule that names findings has something that could not be looked at"
        yield fault("on_failure_ignored", message, "on_failure")
    if rule.effect == "ask" and rule.on == "result" and not rule.findings:
        message = "this rule asks about a result whatever is in it: name the findings for which a human has to look"
        yield fault("asks_too_late", message, "on")
    if rule.on == "result" and _FOUND.search(rule.when):
        yield fault("findings_unknown", FINDINGS_UNKNOWN, "when", Severity.WARN)


def _undescribed(rule: RuleText, world: World, fault: Told) -> Iterator[RuleFault]:
    for name in rule.findings:
        if ":" in name and world.own_findings is not None and name not in world.own_findings:
            kind, _, own = name.partition(":")
            message = f"there is no {kind.replace('_', ' ')} '{own}': describe it first, or correct its name"
            yield fault("no_such_finding", message, "findings")
        elif (side := world.sides.get(name, rule.on)) != rule.on:
            yield fault("never_found", f"'{name}' is only asked about on: {side}", "findings")


def _pointless_tokens(rule: RuleText, fault: Told) -> Iterator[RuleFault]:
    """What is said of tokens where there can be none."""
    one_way = [name for name in rule.findings if not goes_back(name)]
    if rule.effect == "restore":
        if rule.on == "result":
            yield fault("restores_in_result", "real values are put back into arguments, never into results", "on")
        if not rule.findings:
            yield fault("restores_nothing", "name the findings whose real values the tool may get", "findings")
        elif one_way:
            yield fault("never_back", f"{' and '.join(one_way)} is masked for good: name others", "findings")
        elif rule.tools == ("*",) and not (rule.connectors or rule.data_classes or rule.risks):
            yield fault(
                "restores_everywhere", "real values go to whichever tool the agent calls", "tools", Severity.WARN
            )
    masks_findings = (rule.effect, rule.on) == ("mask", "result") and not rule.fields
    if rule.reversible and (not masks_findings or len(one_way) == len(rule.findings)):
        message = "only secrets, personal data and your own findings, masked on result, can have tokens; fields cannot"
        yield fault("tokens_ignored", message, "reversible")
    if rule.keep_last and not rule.reversible:
        yield fault("keep_last_ignored", "only tokens show the end of a value: write reversible", "keep_last")


def _unfit_terms(approvers: Mapping[str, Any], fault: Told) -> Iterator[RuleFault]:
    try:
        parse_terms(approvers)
    except TermsError as error:
        yield fault("terms_invalid", str(error), f"approvers.{error.field}".rstrip("."))


def _mismatches(rule: RuleText, reach: Reach, fault: Told) -> Iterator[RuleFault]:
    """Against the tools: only of those known can anything be said, and only where all are is a miss a fault."""
    matched = {name: tool for name, tool in reach.tools.items() if selects(rule, tool)}
    problems = _spoilt(rule.when, matched)
    severity = Severity.WARN if reach.is_wide else Severity.REFUSE
    is_known = bool(reach.tools) and not reach.unknown
    if not matched:
        if is_known and not any(glob.startswith(UNLISTED) for glob in rule.tools):
            message = f"this rule can never match: {_miss(rule, reach)}"
            yield fault("no_tool", message, "tools", severity)
    elif len(problems) == len(matched) and is_known:
        name, (code, message) = next(iter(problems.items()))
        yield fault(code, f"this rule can never match: {name}: {message}", "when", severity)
    elif problems:
        outcome = "never permits" if rule.effect == "permit" else f"always counts ({rule.effect})"
        yield fault("undecidable", _undecidable(problems, f"the rule {outcome}"), "when", Severity.WARN)


def _undecidable(problems: Mapping[str, tuple[str, str]], outcome: str) -> str:
    name, (_, message) = next(iter(problems.items()))
    others = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"for {name}{others} the condition cannot be decided and {outcome}: {message}"


def _miss(rule: RuleText, reach: Reach) -> str:
    """Names first: of a tool that is there by name, the other selectors are to blame."""
    called = " or ".join(rule.tools)
    by_name = [tool for tool in reach.tools.values() if is_called(tool, rule.tools)]
    if not by_name:
        return f"no tool that the policy is used for is called {called}"
    said = {"connectors": rule.connectors, "data_classes": rule.data_classes, "risks": rule.risks}
    others = [f"{key} {', '.join(values)}" for key, values in said.items() if values]
    others += [f"access {rule.access}"] if rule.access else []
    return f"no tool called {called} has {' and '.join(others)}"


def _spoilt(when: str, matched: Mapping[str, ToolText]) -> dict[str, tuple[str, str]]:
    """Tools for which the condition makes no sense, with code and message. Alike schemas are looked at once."""
    if not when:
        return {}
    read = sorted(set(_READ.findall(when)))
    alike: dict[bytes, list[str]] = defaultdict(list)
    for name, tool in matched.items():
        alike[_facet(tool.schema, read)].append(name)
    found: dict[str, tuple[str, str]] = {}
    for names in list(alike.values())[:MOST_SCHEMAS]:
        problems = check_against(when, schemas={names[0]: matched[names[0]].schema})
        if problems:
            found.update(dict.fromkeys(names, (problems[0].code, problems[0].message)))
    return found


def _facet(schema: Mapping[str, Any], read: Iterable[str]) -> bytes:
    """All of a schema that a condition reading these arguments depends on."""
    properties = schema.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    opening = [word in schema and schema[word] is not False for word in _OPENING]
    said = [isinstance(properties, Mapping), opening, {name: known[name] for name in read if name in known}]
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


def _scope_faults(position: int, scope: Scope, reach: Reach) -> Iterator[RuleFault]:
    fault = _fault_of(position)
    try:
        if is_never_true(scope.when):
            yield fault("never_true", f"the condition '{scope.when}' is never true: nothing could be called", "when")
            return
    except ConditionError as error:
        yield fault("condition_invalid", str(error), "when")
        return
    matched = {name: tool for name, tool in reach.tools.items() if is_called(tool, scope.tools)}
    problems = _spoilt(scope.when, matched)
    is_known = bool(reach.tools) and not reach.unknown
    if not matched and is_known:
        called = " or ".join(scope.tools)
        yield fault("no_tool", f"no tool that the role gives is called {called}", "tools")
    elif problems and is_known and len(problems) == len(matched):
        name, (code, message) = next(iter(problems.items()))
        yield fault(code, f"nothing could be called: {name}: {message}", "when")
    elif problems:
        yield fault("undecidable", _undecidable(problems, "nothing can be called"), "when", Severity.WARN)
    if reach.unknown:
        names = ", ".join(reach.unknown)
        yield fault("not_checked", f"not checked: the tools of {names} are not known yet", "when", Severity.WARN)
