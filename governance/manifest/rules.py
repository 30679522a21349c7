"""Do the rules of a plan mean something? Each is held against the tools it can match where its policy is used. Pure.

A rule that can never match is worse than none: somebody believes in it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from governance.conditions import check_against, is_never_true

from .plan import Plan, Refused
from .reader import Fault
from .schema import BundleEntry, PolicyEntry, RuleEntry, ToolsEntry, fault_at

KnownTools = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Connector -> tool -> input schema, as they will be pinned; a connector never heard of is not in it."""


@dataclass(frozen=True, slots=True)
class Use:
    """Where a policy binds: the tools there by `connector/tool`, and whether each of them is known."""

    tools: Mapping[str, Mapping[str, Any]]
    unknown: tuple[str, ...]
    is_wide: bool
    """Inherited, or bound to a team or the organisation: made for tools that may come, so findings only warn."""


def checked(plan: Plan, *, tools: KnownTools) -> Plan:
    """The plan with the warnings about its rules and bundles. Raises Refused for a rule that can never match."""
    findings = [*_policy_findings(plan, tools)]
    faults = [finding for finding in findings if isinstance(finding, Fault)]
    if faults:
        raise Refused(*faults)
    warnings = [finding for finding in findings if isinstance(finding, str)]
    return replace(
        plan,
        warnings=(*plan.warnings, *_idle_globs(plan, tools), *warnings),
        unchecked=frozenset(_unchecked(plan, tools)),
    )


def _policy_findings(plan: Plan, tools: KnownTools) -> Iterator[Fault | str]:
    changed = _affected_policies(plan)
    for policy in plan.after["policies"].values():
        use = _use_of(policy.name, plan, tools)
        for position, rule in enumerate(policy.rules):
            label = f"policy {policy.name}, rule {position + 1}"
            key = f"rules[{position}]"
            if rule.when and is_never_true(rule.when) and policy.name in plan.changed("policies"):
                yield fault_at(policy, key, f"the condition '{rule.when}' is never true")
                continue
            complaint = _complaint(rule, use)
            if complaint and policy.name in changed and not use.is_wide:
                yield fault_at(policy, key, f"this rule can never match: {complaint}")
            elif complaint and policy.node is not None:
                yield f"{label} can never match: {complaint}"
            if policy.node is not None:
                yield from (f"{label}: {remark}" for remark in _remarks(rule, use))


def _affected_policies(plan: Plan) -> set[str]:
    """Changed, or used by a bundle that changed."""
    bundles = [plan.after["bundles"][name] for name in plan.changed("bundles") if name in plan.after["bundles"]]
    return plan.changed("policies").union(*(bundle.policies for bundle in bundles))


def _use_of(policy: str, plan: Plan, tools: KnownTools) -> Use:
    bundles = plan.after["bundles"]
    direct = [bundle for bundle in bundles.values() if policy in bundle.policies]
    holders = [*plan.after["organization"].values(), *plan.after["teams"].values()]
    is_general = any(policy in holder.policies for holder in holders)
    names = {bundle.name for bundle in direct}
    heirs = [bundle for bundle in bundles.values() if _ancestors(bundle, bundles) & names]
    reached = list(bundles.values()) if is_general else [*direct, *heirs]
    unknown = {entry.connector for bundle in reached for entry in bundle.tools if entry.connector not in tools}
    is_wide = is_general or bool(heirs) or not any(bundle.tools for bundle in direct)
    return Use(_tools_of(reached, tools), tuple(sorted(unknown)), is_wide)


def _ancestors(bundle: BundleEntry, bundles: Mapping[str, BundleEntry]) -> set[str]:
    found: set[str] = set()
    pending = list(bundle.inherits)
    while pending:
        name = pending.pop()
        if name not in found and name in bundles:
            found.add(name)
            pending += bundles[name].inherits
    return found


def _tools_of(bundles: Iterable[BundleEntry], tools: KnownTools) -> dict[str, Mapping[str, Any]]:
    return {
        f"{entry.connector}/{name}": schema
        for bundle in bundles
        for entry in bundle.tools
        for name, schema in tools.get(entry.connector, {}).items()
        if _gives(entry, name)
    }


def _gives(entry: ToolsEntry, name: str) -> bool:
    allowed = any(fnmatchcase(name, glob) for glob in entry.allow)
    return allowed and not any(fnmatchcase(name, glob) for glob in entry.deny)


def _matched(rule: RuleEntry, use: Use) -> dict[str, Mapping[str, Any]]:
    return {tool: schema for tool, schema in use.tools.items() if any(_is_named(tool, glob) for glob in rule.tools)}


def _is_named(tool: str, glob: str) -> bool:
    """As `governance.snapshot.matches_any` reads globs."""
    connector, _, name = tool.partition("/")
    return any(fnmatchcase(spelling, glob) for spelling in (name, tool, f"{connector}__{name}"))


def _complaint(rule: RuleEntry, use: Use) -> str:
    """Why the rule can never match where its policy is used; empty if it can, or if that cannot be known."""
    if use.unknown or not (use.tools or rule.tools != ("*",)):
        return ""
    matched = _matched(rule, use)
    if not matched:
        return f"no tool that the policy is used for is called {' or '.join(rule.tools)}"
    problems = check_against(rule.when, schemas=matched) if rule.when else []
    spoilt = {problem.tool for problem in problems}
    return f"{problems[0].tool}: {problems[0].message}" if len(spoilt) == len(matched) else ""


def _remarks(rule: RuleEntry, use: Use) -> Iterator[str]:
    if rule.effect in ("mask", "flag") or rule.findings or rule.on == "result":
        yield "stored, but NOT ENFORCED: this version does not inspect content yet"
    if not rule.when:
        return
    if use.unknown:
        yield f"not checked: the tools of {', '.join(use.unknown)} are not known yet"
    matched = _matched(rule, use)
    problems = check_against(rule.when, schemas=matched)
    spoilt = {problem.tool: problem.message for problem in problems}
    if spoilt and len(spoilt) < len(matched):
        tool, message = next(iter(spoilt.items()))
        outcome = "never permits" if rule.effect == "permit" else f"always counts ({rule.effect})"
        others = f" and {len(spoilt) - 1} more" if len(spoilt) > 1 else ""
        yield f"for {tool}{others} the condition cannot be decided and {outcome}: {message}"


def _unchecked(plan: Plan, tools: KnownTools) -> Iterator[tuple[str, int]]:
    for policy in plan.after["policies"].values():
        if any(rule.when for rule in policy.rules) and _use_of(policy.name, plan, tools).unknown:
            yield from ((policy.name, position) for position, rule in enumerate(policy.rules) if rule.when)


def _idle_globs(plan: Plan, tools: KnownTools) -> Iterator[str]:
    """Globs of the file's bundles that no known tool answers to."""
    for bundle in plan.after["bundles"].values():
        for entry in bundle.tools if bundle.node is not None else ():
            known = tools.get(entry.connector)
            idle = [glob for glob in entry.allow if not any(fnmatchcase(name, glob) for name in known or ())]
            if known is not None and idle:
                yield f"bundle {bundle.name}: {entry.connector} has no tool called {', '.join(idle)}"


__all__ = ("KnownTools", "PolicyEntry", "checked")
