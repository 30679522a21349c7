"""Do the rules of a plan mean something? Each is held against the tools it can match where its policy is used. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from governance.manifest.entries import BundleEntry, ConnectorEntry, OrganizationEntry, ToolEntry, organization_columns
from governance.manifest.plan import Plan, Refused, Step
from governance.manifest.reader import Fault
from governance.manifest.rule_entries import PolicyEntry, RoleEntry, path_of
from governance.manifest.schema import fault_at
from governance.models import Organization
from governance.rule_checks import RuleFault, Severity, check_policy, check_scopes
from governance.rule_tests import TestCaseError, run_tests
from governance.rule_texts import BundleText, Scope, Selection, TeamText, ToolText, World
from governance.snapshot_rows.organization import calendar_of
from governance.time_of_day import Calendar

KnownTools = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Connector -> tool -> input schema, as they will be pinned; a connector never heard of is not in it."""


def checked(plan: Plan, *, tools: KnownTools) -> Plan:
    """The plan with warnings about its rules and bundles. Raises Refused for a rule that can never match, a data scope
    that lets nothing through and a test that fails."""
    world = _world(plan, tools)
    affected = _affected_policies(plan)
    named = {name for name, policy in plan.after["policies"].items() if policy.node is not None}
    found = {name: _faults(plan.after["policies"][name], world) for name in sorted(affected | named)}
    scopes = {role.name: _scope_faults(role, world) for role in _affected_roles(plan)}
    faults = [
        *(fault for name in sorted(affected) for fault in _refusals(plan.after["policies"][name], found[name], world)),
        *(fault for name, faults in scopes.items() for fault in _refused(plan.after["roles"][name], faults, "scopes")),
    ]
    if faults:
        raise Refused(*faults)
    unchecked = {name: _unchecked(faults) for name, faults in found.items()}
    return replace(
        plan,
        steps=(*plan.steps, *_rechecks(plan, unchecked)),
        warnings=(
            *plan.warnings,
            *_idle_globs(plan, tools),
            *_unknown_tools(plan, tools),
            *_remarks("policy", "rule", found),
            *_remarks("role", "scope", scopes),
        ),
        unchecked=unchecked,
    )


def _world(plan: Plan, tools: KnownTools) -> World:
    after = plan.after
    policies = (policy for holder in after["organization"].values() for policy in holder.policies)
    return World(
        policies={name: policy.texts() for name, policy in after["policies"].items()},
        bundles={name: _bundle_text(bundle) for name, bundle in after["bundles"].items()},
        teams={name: TeamText(team.parent, team.policies) for name, team in after["teams"].items()},
        organization=frozenset(policies),
        tools={name: _tool_texts(name, known, after["connectors"].get(name)) for name, known in tools.items()},
        calendar=next((_calendar(entry) for entry in after["organization"].values()), Calendar()),
    )


def _calendar(entry: OrganizationEntry) -> Calendar:
    return calendar_of(Organization(**organization_columns(entry)))


def _bundle_text(bundle: BundleEntry) -> BundleText:
    tools = tuple(Selection(entry.connector, entry.allow, entry.deny) for entry in bundle.tools)
    return BundleText(bundle.name, bundle.inherits, bundle.policies, tools)


def _tool_texts(
    connector: str, known: Mapping[str, Mapping[str, Any]], entry: ConnectorEntry | None
) -> dict[str, ToolText]:
    said = {tool.name: tool for tool in entry.tools} if entry is not None else {}
    stage = entry.stage if entry is not None else ""
    return {
        name: _tool_text(connector, schema, said.get(name, ToolEntry(name=name)), stage)
        for name, schema in known.items()
    }


def _tool_text(connector: str, schema: Mapping[str, Any], said: ToolEntry, stage: str) -> ToolText:
    return ToolText(
        connector,
        said.name,
        schema,
        risk=said.risk,
        data_classes=frozenset(said.data_classes),
        is_read_only=said.read_only,
        is_untrusted=said.untrusted,
        is_egress=said.egress,
        environment=stage,
    )


def _affected_policies(plan: Plan) -> set[str]:
    """Changed, or used by a bundle that changed."""
    bundles = [plan.after["bundles"][name] for name in plan.changed("bundles") if name in plan.after["bundles"]]
    used = {name for bundle in bundles for name in bundle.policies}
    return (plan.changed("policies") | used) & plan.after["policies"].keys()


def _affected_roles(plan: Plan) -> list[RoleEntry]:
    return [plan.after["roles"][name] for name in sorted(plan.changed("roles") & plan.after["roles"].keys())]


def _faults(policy: PolicyEntry, world: World) -> list[RuleFault]:
    return check_policy(policy.name, rules=world.policies[policy.name], world=world)


def _scope_faults(role: RoleEntry, world: World) -> list[RuleFault]:
    return check_scopes([Scope(scope.tools, scope.when) for scope in role.scopes], bundles=role.bundles, world=world)


def _refusals(policy: PolicyEntry, faults: list[RuleFault], world: World) -> Iterator[Fault]:
    yield from _refused(policy, faults, "rules")
    if policy.tests and not any(fault.severity is Severity.REFUSE for fault in faults):
        yield from _failed_tests(policy, world)


def _failed_tests(policy: PolicyEntry, world: World) -> Iterator[Fault]:
    tools = [tool for known in world.tools.values() for tool in known.values()]
    try:
        results = run_tests(policy.texts(), policy.plain_tests(), tools, calendar=world.calendar)
    except TestCaseError as error:
        yield fault_at(policy, f"tests[{error.position - 1}].{error.field}".rstrip("."), str(error))
        return
    for position, result in enumerate(results):
        if not result.passed:
            yield fault_at(policy, f"tests[{position}]", result.sentence)


def _refused(entry: PolicyEntry | RoleEntry, faults: list[RuleFault], section: str) -> Iterator[Fault]:
    for fault in faults:
        if fault.severity is Severity.REFUSE:
            yield fault_at(entry, path_of(fault, section), fault.message)


def _remarks(kind: str, part: str, found: Mapping[str, list[RuleFault]]) -> Iterator[str]:
    for name, faults in found.items():
        for fault in faults:
            yield f"{kind} {name}, {part} {fault.position}: {fault.message.removeprefix('this rule ')}"


def _unchecked(faults: list[RuleFault]) -> frozenset[int]:
    return frozenset(fault.position - 1 for fault in faults if fault.code == "not_checked")


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


def _unknown_tools(plan: Plan, tools: KnownTools) -> Iterator[str]:
    """Tools that the file says something of, and their upstream does not offer."""
    for connector in plan.after["connectors"].values():
        known = tools.get(connector.name)
        missing = [tool.name for tool in connector.tools if known is not None and tool.name not in known]
        if missing and connector.node is not None:
            yield f"connector {connector.name} has no tool called {', '.join(missing)}"
