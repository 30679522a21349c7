"""Do the rules of a plan mean something? Each is held against the tools it can match where its policy is used. Pure.

A rule that can never match is worse than none: somebody believes in it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from governance.conditions import check_against, is_never_true
from governance.manifest.plan import Plan, Refused, Step
from governance.manifest.reader import Fault
from governance.manifest.schema import BundleEntry, PolicyEntry, RuleEntry, ToolsEntry, fault_at

KnownTools = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Connector -> tool -> input schema, as they will be pinned; a connector never heard of is not in it."""

UNLISTED = ("resource:", "prompt:")
"""What a rule may name without any list of it here: only its upstream knows which there are."""


@dataclass(frozen=True, slots=True)
class Use:
    """Where a policy binds: the schemas of the tools there by `connector/tool`, and connectors not known yet."""

    tools: Mapping[str, Mapping[str, Any]]
    unknown: tuple[str, ...]
    is_wide: bool
    """Inherited, or bound to a team or the organisation: made for tools that may come, so it is only warned of."""


def checked(plan: Plan, *, tools: KnownTools) -> Plan:
    """The plan with warnings about its rules and bundles. Raises Refused for a rule that can never match."""
    affected = _affected_policies(plan)
    named = {name for name, policy in plan.after["policies"].items() if policy.node is not None}
    uses = {name: _use_of(name, plan, tools) for name in sorted(affected | named)}
    faults = [fault for name in affected for fault in _faults(plan.after["policies"][name], uses[name])]
    if faults:
        raise Refused(*faults)
    remarks = [remark for name in uses for remark in _remarks(plan.after["policies"][name], uses[name])]
    unchecked = {name: _unchecked(plan.after["policies"][name], use) for name, use in uses.items()}
    return replace(
        plan,
        steps=(*plan.steps, *_rechecks(plan, unchecked)),
        warnings=(*plan.warnings, *_idle_globs(plan, tools), *remarks),
        unchecked=unchecked,
    )


def _affected_policies(plan: Plan) -> set[str]:
    """Changed, or used by a bundle that changed."""
    bundles = [plan.after["bundles"][name] for name in plan.changed("bundles") if name in plan.after["bundles"]]
    used = {name for bundle in bundles for name in bundle.policies}
    return (plan.changed("policies") | used) & plan.after["policies"].keys()


def _faults(policy: PolicyEntry, use: Use) -> Iterator[Fault]:
    for position, rule in enumerate(policy.rules):
        complaint = "" if use.is_wide else _complaint(rule, use)
        if rule.when and is_never_true(rule.when):
            complaint = f"the condition '{rule.when}' is never true"
        if complaint:
            yield fault_at(policy, f"rules[{position}]", f"this rule can never match: {complaint}")


def _remarks(policy: PolicyEntry, use: Use) -> Iterator[str]:
    for position, rule in enumerate(policy.rules, start=1):
        complaint = _complaint(rule, use)
        remarks = [f"can never match: {complaint}"] if complaint else _undecidable(rule, use)
        for remark in (*remarks, *_not_enforced(rule), *_not_checked(rule, use)):
            yield f"policy {policy.name}, rule {position}: {remark}"


def _use_of(policy: str, plan: Plan, tools: KnownTools) -> Use:
    bundles = plan.after["bundles"]
    direct = [bundle for bundle in bundles.values() if policy in bundle.policies]
    names = {bundle.name for bundle in direct}
    heirs = [bundle for bundle in bundles.values() if _ancestors(bundle, bundles) & names]
    holders = [*plan.after["organization"].values(), *plan.after["teams"].values()]
    is_general = any(policy in holder.policies for holder in holders)
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
    if use.unknown or not use.tools:
        return ""
    matched = _matched(rule, use)
    if not matched and any(glob.startswith(UNLISTED) for glob in rule.tools):
        return ""
    if not matched:
        return f"no tool that the policy is used for is called {' or '.join(rule.tools)}"
    spoilt = _spoilt(rule, matched)
    if len(spoilt) < len(matched):
        return ""
    tool, message = next(iter(spoilt.items()))
    return f"{tool}: {message}"


def _spoilt(rule: RuleEntry, matched: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Tools for which the condition makes no sense, and why."""
    problems = check_against(rule.when, schemas=matched) if rule.when else []
    return {problem.tool: problem.message for problem in reversed(problems)}


def _undecidable(rule: RuleEntry, use: Use) -> Iterator[str]:
    spoilt = _spoilt(rule, _matched(rule, use))
    if spoilt:
        tool, message = next(iter(spoilt.items()))
        others = f" and {len(spoilt) - 1} more" if len(spoilt) > 1 else ""
        outcome = "never permits" if rule.effect == "permit" else f"always counts ({rule.effect})"
        yield f"for {tool}{others} the condition cannot be decided and the rule {outcome}: {message}"


def _not_enforced(rule: RuleEntry) -> Iterator[str]:
    if rule.effect in ("mask", "flag") or rule.findings or rule.on == "result":
        yield "stored, but NOT ENFORCED: this version does not inspect content yet"


def _not_checked(rule: RuleEntry, use: Use) -> Iterator[str]:
    if rule.when and use.unknown:
        yield f"not checked: the tools of {', '.join(use.unknown)} are not known yet"


def _unchecked(policy: PolicyEntry, use: Use) -> frozenset[int]:
    return frozenset(index for index, rule in enumerate(policy.rules) if rule.when and use.unknown)


def _rechecks(plan: Plan, unchecked: Mapping[str, frozenset[int]]) -> Iterator[Step]:
    """Policies whose rules stay as they are, but can be checked now (or no longer)."""
    for name, indexes in unchecked.items():
        stored = plan.before["policies"].get(name)
        if stored is not None and name not in plan.changed("policies") and stored.unchecked != indexes:
            note = "some rules cannot be checked" if indexes else "all rules are checked now"
            yield Step("policies", "update", plan.after["policies"][name], stored, stored, (note,))


def _idle_globs(plan: Plan, tools: KnownTools) -> Iterator[str]:
    """Globs of the file's bundles that no known tool answers to."""
    for bundle in plan.after["bundles"].values():
        for entry in bundle.tools if bundle.node is not None else ():
            known = tools.get(entry.connector)
            idle = [glob for glob in entry.allow if not any(fnmatchcase(name, glob) for name in known or ())]
            if known is not None and idle:
                yield f"bundle {bundle.name}: {entry.connector} has no tool called {', '.join(idle)}"
